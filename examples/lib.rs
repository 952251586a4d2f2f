//! Examples to run and copy.
//!
//! | file | content |
//! | --- | --- |
//! | `quickstart` | imports a service account between two new clusters: `cargo run --example quickstart` |
//! | `list_remote_pods` | a program in a pod with an import |
//! | `watch_pods` | the smallest controller over several clusters |
//! | `copy_configmap` | a controller whose objects own objects in other clusters |
//! | `import.yaml` | an import of the service account default/pod-lister of c2 |
//! | `pod.yaml`, `deployment.yaml` | pods with the import mounted |
//! | `consumers/` | imports whose Secrets Argo CD, Flux, Cluster API and MultiKueue read |

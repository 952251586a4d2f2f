//! Examples to run and to copy.
//!
//! | file | content |
//! | --- | --- |
//! | `quickstart` | imports a service account of one new cluster into another: `cargo run --example quickstart` |
//! | `list_remote_pods` | a program in a pod with an import |
//! | `watch_pods` | the smallest controller over several clusters |
//! | `copy_configmap` | a controller whose objects own objects in other clusters |
//! | `import.yaml` | an import of the service account default/pod-lister of c2 |
//! | `pod.yaml`, `deployment.yaml` | pods that mount the import |
//! | `consumers/` | imports for Argo CD, Flux, Cluster API and MultiKueue |

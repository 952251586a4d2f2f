//! Examples to run and to copy.
//!
//! | file | content |
//! | --- | --- |
//! | `quickstart` | imports a service account of one new cluster into another: `cargo run --example quickstart` |
//! | `launch` | runs a pod of one new cluster in another: `cargo run --example launch` |
//! | `argo` | runs steps of an Argo workflow of one new cluster in another: `cargo run --example argo` |
//! | `argo/scenario-a.yaml`, `argo/scenario-b.yaml` | workflows over several clusters |
//! | `list_remote_pods` | a program in a pod with an import, which may run for months |
//! | `watch_pods` | the smallest controller over several clusters |
//! | `copy_configmap` | a controller whose objects own objects in other clusters |
//! | `keep_replicas` | a controller that keeps copies of Deployments in all contexts of a kubeconfig |
//! | `mirror_pods` | a controller that watches imports, each good for one namespace only |
//! | `import.yaml` | an import of the service account default/pod-lister of c2 |
//! | `pod.yaml`, `deployment.yaml` | pods that mount the import |
//! | `consumers/` | imports for Argo CD, Flux, Cluster API and MultiKueue |

//! What a newcomer runs and copies.
//!
//! | file | what it is |
//! | --- | --- |
//! | `quickstart` | the main job, from nothing, on two real clusters: `cargo run --example quickstart` |
//! | `list_remote_pods` | what a program in a pod looks like |
//! | `watch_pods` | the smallest controller over several clusters |
//! | `copy_configmap` | a controller whose objects own others in other clusters |
//! | `import.yaml` | "I want the service account default/pod-lister of c2" |
//! | `pod.yaml`, `deployment.yaml` | pods that get it mounted |
//! | `consumers/` | imports whose Secrets Argo CD, Flux, Cluster API and MultiKueue read |

//! A kubeconfig of many contexts, all of one API server.

use kube::config::Kubeconfig;

/// The same context under the names `c0`, `c1`, ..., each with a cluster and a user of its own.
pub fn repeat(one: &Kubeconfig, contexts: u32) -> Kubeconfig {
    let mut all = Kubeconfig::default();
    for number in 0..contexts {
        let (mut next, name) = (one.clone(), format!("c{number}"));
        next.clusters.iter_mut().for_each(|cluster| cluster.name.clone_from(&name));
        next.auth_infos.iter_mut().for_each(|user| user.name.clone_from(&name));
        for entry in &mut next.contexts {
            entry.name.clone_from(&name);
            if let Some(context) = &mut entry.context {
                context.cluster.clone_from(&name);
                context.user = Some(name.clone());
            }
        }
        // Not `merge`, which compares each name with all others.
        all.clusters.extend(next.clusters);
        all.auth_infos.extend(next.auth_infos);
        all.contexts.extend(next.contexts);
    }
    all
}

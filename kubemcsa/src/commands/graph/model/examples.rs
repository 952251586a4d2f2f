//! Graphs for unit tests.

use super::{Graph, Holder, Identity, Import, SourceCluster, Target};

/// One workload with one import.
pub(crate) fn small() -> Graph {
    Graph {
        targets: vec![Target { name: "c1".into(), pods_read: true }],
        sources: vec![SourceCluster { name: "c2".into(), unread: None }],
        holders: vec![Holder {
            namespace: "default".into(),
            name: "deployment web".into(),
            pods: 3,
            ..Default::default()
        }],
        imports: vec![Import {
            namespace: "default".into(),
            name: "c2-pod-lister".into(),
            holders: vec![0],
            ..Default::default()
        }],
        identities: vec![Identity {
            namespace: "default".into(),
            name: "pod-lister".into(),
            rights: vec!["default: get, list pods".into()],
            ..Default::default()
        }],
    }
}

/// Three targets with seven imports and six workloads each, and three sources with eighteen identities.
pub(crate) fn large() -> Graph {
    let mut graph = Graph {
        targets: ["edge-amsterdam", "edge-oslo", "management"]
            .map(|name| Target { name: name.into(), pods_read: true })
            .into(),
        sources: [
            ("prod-eu-west-1", None),
            ("prod-us-east-1", None),
            ("staging", Some("context staging cannot list roles")),
        ]
        .map(|(name, unread): (&str, Option<&str>)| SourceCluster {
            name: name.into(),
            unread: unread.map(str::to_owned),
        })
        .into(),
        ..Default::default()
    };
    let rights = [
        "default: get, list pods",
        "cluster-wide: get, list, watch deployments.apps, nodes, pods, services",
        "monitoring: get configmaps (prometheus, alertmanager)",
    ];
    for it in 0..18 {
        let admin = match it {
            4 => vec!["do everything".to_owned()],
            11 => vec![
                "read secrets in all namespaces".to_owned(),
                "run pods as any service account in kube-system".to_owned(),
            ],
            _ => Vec::new(),
        };
        graph.identities.push(Identity {
            source: it / 6,
            namespace: ["default", "monitoring", "argocd"][it % 3].into(),
            name: [
                "pod-lister",
                "prometheus-kube-state-metrics-reader",
                "argocd-manager",
                "deployer",
                "backup",
                "c1",
            ][it % 6]
                .into(),
            rights: if it >= 12 {
                Vec::new()
            } else {
                rights[..=it % 3].iter().map(|it| (*it).to_owned()).collect()
            },
            admin,
        });
    }
    for it in 0..21 {
        let (target, number) = (it / 7, it % 7);
        let namespace = if number == 6 {
            "multicluster-service-account"
        } else {
            ["default", "monitoring", "team-with-a-rather-long-name"][number / 2]
        };
        let holder = |number: usize| Holder {
            target,
            namespace: namespace.into(),
            name: [
                "deployment web",
                "daemon set node-exporter-with-a-very-long-name-indeed",
                "stateful set prometheus",
                "cron job nightly-report",
                "deployment gitops-engine-application-controller",
                "pod debug",
            ][number % 6]
                .into(),
            pods: [3, 500, 2, 1, 12, 1][number % 6],
        };
        let mut holders = Vec::new();
        if number != 6 {
            graph.holders.push(holder(number));
            holders.push(graph.holders.len() - 1);
            if number % 2 == 1 {
                holders.push(graph.holders.len() - 2);
            }
        }
        graph.imports.push(Import {
            target,
            namespace: namespace.into(),
            name: [
                "c2-pod-lister",
                "prod-eu-west-1-kube-state-metrics",
                "argocd",
                "us-deployer",
                "backup",
                "x",
                "prod-eu-west-1",
            ][number]
                .into(),
            is_link: number == 6,
            is_launch: false,
            not_ready: (it == 9).then(|| "SourceUnreachable".to_owned()),
            not_permitted: it == 10,
            may_import: None,
            holders,
            identity: it * 5 % 18,
        });
    }
    graph
}

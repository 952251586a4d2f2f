//! Prints the user that the API server sees for a context of a kubeconfig, and the context's namespace, as JSON.
//!
//! The arguments are the file (empty: `KUBECONFIG`) and the context (empty: the current one). It is a program of its
//! own, because tests need their own environment, standard input and panics for each kubeconfig.

use std::process::ExitCode;

use anyhow::Context;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::PostParams;
use mcsa_client::config::Contexts;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    mcsa_tests::init();
    match run().await {
        Ok(user) => {
            println!("{user}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<Value> {
    let mut args = std::env::args().skip(1);
    let (file, context) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    let contexts = if file.is_empty() { Contexts::from_env() } else { Contexts::from_file(file) };
    let config = contexts.context(Some(&*context).filter(|name| !name.is_empty()))?;
    let reviews = Api::<SelfSubjectReview>::all(config.client());
    let mut user = None;
    // The second request must not run a credential plugin again.
    for _ in 0..2 {
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
        user = Some(review.status.and_then(|status| status.user_info).context("no user in the review")?);
    }
    Ok(json!({ "user": user, "namespace": config.default_namespace() }))
}

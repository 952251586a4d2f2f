//! The baseline: the webhook's server, with a handler that allows every pod.
//!
//! It reads the whole review, as any handler must, and keeps only the UID for the response. No webhook on this stack
//! could be faster.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use mcsa_credentials::contract::webhook::PATH;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::json;

use crate::tls::{CERTIFICATE, KEY};

/// The webhook's number of threads.
const THREADS: usize = 2;

#[derive(Deserialize)]
struct Review {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    uid: String,
}

/// Serves forever, with the certificate in this folder.
pub fn serve(address: SocketAddr, folder: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let listener = TcpListener::bind(address).with_context(|| format!("can't listen at {address}"))?;
    listener.set_nonblocking(true)?;
    let tls = RustlsConfig::from_config(Arc::new(config(folder)?));
    let router = Router::new().route(PATH, post(allow));
    runtime.block_on(async { from_tcp_rustls(listener, tls)?.serve(router.into_make_service()).await })?;
    Ok(())
}

async fn allow(body: Bytes) -> Response {
    match serde_json::from_slice::<Review>(&body) {
        Ok(Review { request: Request { uid } }) => Json(json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": { "uid": uid, "allowed": true },
        }))
        .into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// A configuration like the webhook's.
fn config(folder: &Path) -> anyhow::Result<ServerConfig> {
    let chain = fs::read(folder.join(CERTIFICATE))?;
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(&fs::read(folder.join(KEY))?)?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

//! All kinds of kubeconfigs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kube::config::{AuthInfo, ExecConfig, Kubeconfig, NamedAuthInfo};
use mcsa_credentials::ExposeSecret;
use mcsa_tests::{Cluster, kubeconfig_with_server, shared_clusters, write_executable};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::http_proxy::HttpProxy;
use super::{Completed, command, complete, run, write};

/// Looks like a token, so no message may contain it.
const NONSENSE: &str = "eyJ0b2tlbiI6Im5vbnNlbnNlIn0";

/// Mints an administrator's token, for plugins and files.
async fn token(cluster: &Cluster) -> anyhow::Result<String> {
    let name = "administrator";
    let account = format!("--serviceaccount=default:{name}");
    cluster.kubectl(["-n", "default", "create", "serviceaccount", name]).await?;
    let bind = ["create", "clusterrolebinding", name, "--clusterrole=cluster-admin", &account];
    cluster.kubectl(bind).await?;
    let token = cluster.kubectl(["-n", "default", "create", "token", name]).await?;
    Ok(token.trim().to_owned())
}

/// Administrators' tokens of both clusters.
async fn tokens() -> anyhow::Result<&'static [String; 2]> {
    static TOKENS: OnceCell<[String; 2]> = OnceCell::const_new();
    let (c1, c2) = shared_clusters().await;
    TOKENS.get_or_try_init(async || Ok([token(c1).await?, token(c2).await?])).await
}

/// Writes a shell script to `folder`.
fn script(folder: &Path, name: &str, text: &str) -> anyhow::Result<String> {
    write_executable(&folder.join(name), format!("#!/bin/sh\n{text}\n").as_bytes())?;
    Ok(format!("./{name}"))
}

/// A plugin that prints an ExecCredential with this status.
fn plugin(folder: &Path, name: &str, status: serde_json::Value) -> anyhow::Result<AuthInfo> {
    let version = "client.authentication.k8s.io/v1";
    let credential = json!({ "apiVersion": version, "kind": "ExecCredential", "status": status });
    fs::write(folder.join(format!("{name}.json")), credential.to_string())?;
    let text = format!("cat '{}'", folder.join(format!("{name}.json")).display());
    Ok(exec(script(folder, name, &text)?))
}

fn exec(command: String) -> AuthInfo {
    let exec = ExecConfig {
        api_version: Some("client.authentication.k8s.io/v1".into()),
        command: Some(command),
        args: Some(vec!["--secret=arg-secret".into()]),
        env: Some(vec![
            [("name", "SECRET"), ("value", "env-secret")].map(|(k, v)| (k.into(), v.into())).into(),
        ]),
        provide_cluster_info: true,
        ..Default::default()
    };
    AuthInfo { exec: Some(exec), ..Default::default() }
}

/// A kubeconfig of the cluster with this user.
fn with_user(cluster: &Cluster, user: AuthInfo) -> Kubeconfig {
    let mut kubeconfig = cluster.kubeconfig_value();
    let named = NamedAuthInfo { name: cluster.name().into(), auth_info: Some(user), ..Default::default() };
    kubeconfig.auth_infos = vec![named];
    kubeconfig
}

/// The PEM certificate and key of a cluster's administrator.
fn certificate(cluster: &Cluster) -> anyhow::Result<(String, String)> {
    let kubeconfig = cluster.kubeconfig_value();
    let user = kubeconfig
        .auth_infos
        .first()
        .and_then(|named| named.auth_info.clone())
        .context("the kubeconfig has no user")?;
    let decode = |base64: &str| anyhow::Ok(String::from_utf8(BASE64_STANDARD.decode(base64)?)?);
    let key = user.client_key_data.context("the user has no key")?;
    Ok((
        decode(&user.client_certificate_data.context("the user has no certificate")?)?,
        decode(key.expose_secret())?,
    ))
}

/// Base64 in lines, as in YAML blocks.
fn in_lines(text: &str) -> String {
    let base64 = BASE64_STANDARD.encode(text);
    let lines = base64.as_bytes().chunks(64).map(String::from_utf8_lossy);
    lines.map(|line| format!("{line}\n")).collect()
}

/// A user of `cluster` for each kind of authentication, with the kind's name.
async fn users(
    folder: &Path,
    cluster: &Cluster,
    token: &str,
) -> anyhow::Result<Vec<(&'static str, AuthInfo)>> {
    let name = cluster.name();
    let file = |what: &str, text: &str| {
        let file = format!("{name}-{what}");
        fs::write(folder.join(&file), text)?;
        anyhow::Ok(Some(file))
    };
    let (certificate, key) = certificate(cluster)?;
    let expiry = "2999-01-01T00:00:00Z";
    Ok(vec![
        ("plugin-token", plugin(folder, &format!("{name}-t"), json!({ "token": token }))?),
        (
            "plugin-expiring-token",
            plugin(folder, &format!("{name}-e"), json!({ "token": token, "expirationTimestamp": expiry }))?,
        ),
        (
            "plugin-certificate",
            plugin(
                folder,
                &format!("{name}-c"),
                json!({ "clientCertificateData": certificate, "clientKeyData": key }),
            )?,
        ),
        (
            "certificate-files",
            AuthInfo {
                client_certificate: file("certificate", &certificate)?,
                client_key: file("key", &key)?,
                ..Default::default()
            },
        ),
        (
            "certificate-data",
            AuthInfo {
                client_certificate_data: Some(in_lines(&certificate)),
                client_key_data: Some(in_lines(&key).into()),
                // Some tools write empty values.
                token: Some(String::new().into()),
                ..Default::default()
            },
        ),
        ("token-file", AuthInfo { token_file: file("token", &format!("{token}\n"))?, ..Default::default() }),
    ])
}

/// Links, lists and exports with a kubeconfig.
async fn ensure_works(kubeconfig: &Path, name: &str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let bootstrap = ["bootstrap", "--target-context", "c1", "--source-context", "c2", "--allow", "default"];
    let source = format!("{name}-source");
    let names = ["--target-name", name, "--source-name", &source];
    let links = ["links", "--context", "c1"];
    let export = ["export", "--context", "c2", "--namespace", "default", "default"];
    for args in [[&bootstrap[..], &names].concat(), links.to_vec(), export.to_vec()] {
        let mut command = command(kubeconfig, args)?;
        command.envs(environment.iter().copied());
        let stdout = complete(command).await?.stdout().with_context(|| name.to_owned())?;
        ensure!(!stdout.contains("SOURCE") || stdout.contains(name), "{name} is not in:\n{stdout}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_user_works() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    let tokens = tokens().await?;
    let on_target = users(folder.path(), c1, &tokens[0]).await?;
    let on_source = users(folder.path(), c2, &tokens[1]).await?;
    for ((kind, target), (_, source)) in on_target.into_iter().zip(on_source) {
        let both = [with_user(c1, target), with_user(c2, source)];
        ensure_works(&write(both, &folder.path().join(kind))?, kind, &[]).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_kubeconfig_and_environment_are_used() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    let proxy = HttpProxy::start().await?;
    let plain = [c1, c2].map(Cluster::kubeconfig_value);

    // The proxy of the kubeconfig.
    let mut proxied = plain.clone();
    for cluster in proxied.iter_mut().flat_map(|one| &mut one.clusters).filter_map(|one| one.cluster.as_mut())
    {
        cluster.proxy_url = Some(proxy.url());
    }
    let kubeconfig = write(proxied, &folder.path().join("proxied"))?;
    ensure_works(&kubeconfig, "proxy", &[("NO_PROXY", "*")]).await?;
    ensure!(proxy.tunnels() > 0, "nothing went through the proxy");

    // The proxy of the environment: not for loopback addresses, but for a name that only the proxy resolves.
    let before = proxy.tunnels();
    let url = proxy.url();
    let near = write(plain.clone(), &folder.path().join("near"))?;
    ensure_works(&near, "near", &[("HTTPS_PROXY", &url)]).await?;
    ensure!(proxy.tunnels() == before, "the proxy was used for a loopback address");
    let named = |(cluster, one): (&Cluster, Kubeconfig)| {
        kubeconfig_with_server(one, &format!("https://kubernetes:{}", cluster.port()))
    };
    let far = [c1, c2].into_iter().zip(plain).map(named);
    let far = write(far, &folder.path().join("far"))?;
    let links = async |no: &str| {
        let mut command = command(&far, ["links", "--context", "c1"])?;
        complete({
            command.env("https_proxy", &url).env("no_proxy", no);
            command
        })
        .await
    };
    // NO_PROXY matches the address of the proxy, not the cluster's name.
    links("127.0.0.0/8,").await?.stdout()?;
    ensure!(proxy.tunnels() > before, "nothing went through the proxy");
    links("kubernetes").await?.failed_with(&["c1: ", "https://kubernetes:", "is unreachable"])?;

    // An error names a proxy that can't be reached.
    let mut command = command(&far, ["links", "--context", "c1"])?;
    command.env("HTTPS_PROXY", "http://me:pass@127.0.0.1:1");
    let completed = complete(command).await?;
    completed.failed_with(&["c1: ", "https://kubernetes:", "through proxy 127.0.0.1:1", "is unreachable"])?;
    ensure!(!completed.stderr.contains("pass"), "{}", completed.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_credentials_are_reported_without_secrets() -> anyhow::Result<()> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    let mut missing = exec("no-such-plugin".into());
    if let Some(exec) = &mut missing.exec {
        exec.install_hint = Some("To get it:\n  apt install no-such-plugin".into());
    }
    let mut quiet = exec(script(path, "quiet", &format!("echo {NONSENSE}; echo not logged in >&2; exit 3"))?);
    if let Some(exec) = &mut quiet.exec {
        exec.interactive_mode = Some(kube::config::ExecInteractiveMode::Never);
    }
    let version = "client.authentication.k8s.io/v1";
    let old = format!("echo '{{\"apiVersion\": \"{version}\", \"spec\": {{\"token\": \"{NONSENSE}\"}}}}'");
    let cases = [
        (missing, &["no-such-plugin", "is not installed", "To get it: apt install"][..]),
        (quiet, &["quiet", "exit status: 3", "log in again"]),
        (exec(script(path, "nonsense", &format!("echo {NONSENSE}"))?), &["nonsense", "no ExecCredential"]),
        (exec(script(path, "old", &old)?), &["old", "no ExecCredential"]),
        (
            plugin(path, "expiry", json!({ "token": NONSENSE, "expirationTimestamp": NONSENSE }))?,
            &["invalid expirationTimestamp"],
        ),
        (
            plugin(
                path,
                "certificate",
                json!({ "clientCertificateData": NONSENSE, "clientKeyData": NONSENSE }),
            )?,
            &["credentials of context c2"],
        ),
        (
            AuthInfo {
                client_certificate_data: Some(BASE64_STANDARD.encode("-----BEGIN CERTIFICATE-----")),
                client_key_data: Some(BASE64_STANDARD.encode(format!("-----BEGIN {NONSENSE}\n")).into()),
                ..Default::default()
            },
            &["client-certificate-data and client-key-data can't be used"],
        ),
        (
            AuthInfo { token_file: Some("no-such-file".into()), ..Default::default() },
            &["no-such-file", "No such file"],
        ),
        (
            AuthInfo { client_certificate: Some("no-such-file".into()), ..Default::default() },
            &["no-such-file", "No such file"],
        ),
    ];
    for (user, words) in cases {
        let both = [c1.kubeconfig_value(), with_user(c2, user)];
        let kubeconfig = write(both, &path.join("kubeconfig"))?;
        let bootstrap = ["bootstrap", "--target-context", "c1", "--source-context", "c2"];
        let links = ["links", "--context", "c2"];
        let export = ["export", "--context", "c2", "default"];
        for args in [&bootstrap[..], &links, &export] {
            let completed = run(&kubeconfig, args.iter().copied()).await?;
            completed.failed_with(words)?;
            // Plugins write to the same stderr.
            let is_shown = completed.stderr.contains("not logged in");
            ensure!(is_shown == words.contains(&"quiet"), "{}", completed.stderr);
            for secret in [NONSENSE, "arg-secret", "env-secret"] {
                ensure!(!completed.stderr.contains(secret), "stderr contains {secret}: {}", completed.stderr);
            }
        }
    }
    Ok(())
}

/// A folder with a kubeconfig for each shared cluster, and the paths.
async fn separate_kubeconfigs() -> anyhow::Result<(TempDir, [String; 2])> {
    let (c1, c2) = shared_clusters().await;
    let folder = tempfile::tempdir()?;
    let path = |cluster: &Cluster| write([cluster.kubeconfig_value()], &folder.path().join(cluster.name()));
    let paths = [path(c1)?, path(c2)?].map(|path| path.display().to_string());
    Ok((folder, paths))
}

#[tokio::test(flavor = "multi_thread")]
async fn first_of_several_files_wins() -> anyhow::Result<()> {
    let (folder, [c1, c2]) = separate_kubeconfigs().await?;
    ensure_works(Path::new(&format!("{c1}:{c2}")), "joined", &[]).await?;
    // Missing files and empty names are ignored.
    ensure_works(Path::new(&format!("/nonexistent/a::{c1}:/nonexistent/b:{c2}")), "sparse", &[]).await?;

    // Both files have the same names.
    let elsewhere = fs::read_to_string(&c1)?.replace("server: ", "server: https://127.0.0.1:1 #");
    let other = folder.path().join("other").display().to_string();
    fs::write(&other, elsewhere)?;
    run(format!("{c1}:{other}"), ["links"]).await?.stdout()?;
    run(format!("{other}:{c1}"), ["links"]).await?.failed_with(&["c1: ", "https://127.0.0.1:1"])?;

    // The first file with a current context wins; an empty one doesn't count.
    let unset = fs::read_to_string(&c2)?.replace("current-context: c2", "current-context: ''");
    ensure!(unset.contains("''"), "{unset}");
    fs::write(&other, unset)?;
    run(format!("{other}:{c1}"), ["links"]).await?.stdout()?;
    run(&other, ["links"]).await?.failed_with(&["no current context", "--context: c2"])?;
    let bootstrap = run(&other, ["bootstrap"]).await?;
    bootstrap.failed_with(&["no current context", "--target-context: c2"])?;
    run(&other, ["export", "default"]).await?.failed_with(&["no current context", "--context: c2"])
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_kubeconfigs_are_reported_without_their_content() -> anyhow::Result<()> {
    let (folder, [c1, _]) = separate_kubeconfigs().await?;
    let everywhere = async |kubeconfig: &str, words: &[&str]| {
        for args in [&["links"][..], &["bootstrap"], &["export", "default"], &["rotate"]] {
            run(kubeconfig, args.iter().copied()).await?.failed_with(words)?;
        }
        anyhow::Ok(())
    };
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text)?;
        anyhow::Ok(path.display().to_string())
    };
    everywhere(&file("empty", "")?, &["/empty has no contexts", "kubeconfig or KUBECONFIG"]).await?;
    everywhere("/nonexistent/a", &["/nonexistent/a: ", "file not found", "kubeconfig or KUBECONFIG"]).await?;
    everywhere(&folder.path().display().to_string(), &["can't read kubeconfig "]).await?;

    // A file that can't be parsed may contain secrets, so the error only names the place.
    let nonsense = file("nonsense", &format!("users: [{{name: a, user: {{token: {NONSENSE}: :"))?;
    let types = file("types", &format!("users: {NONSENSE}"))?;
    for broken in [&nonsense, &types] {
        let joined = format!("{c1}:{broken}");
        let completed = run(&joined, ["links"]).await?;
        completed.failed_with(&[&format!("kubeconfig {broken}:1:"), "it is not a kubeconfig"])?;
        ensure!(!completed.stderr.contains(NONSENSE), "{}", completed.stderr);
    }
    let flag = ["links", "--kubeconfig", "/nonexistent/b"];
    run(&c1, flag).await?.failed_with(&["/nonexistent/b", "file not found", "--kubeconfig"])?;
    run(&c1, ["links", "--context", "c9"]).await?.failed_with(&["no context \"c9\"", "--context: c1"])?;
    let dangling = fs::read_to_string(&c1)?.replace("user: c1", "user: c9");
    let dangling = file("dangling", &dangling)?;
    run(&dangling, ["links"]).await?.failed_with(&["context c1", "user c9"])
}

#[tokio::test(flavor = "multi_thread")]
async fn default_kubeconfig_is_in_the_home_folder() -> anyhow::Result<()> {
    let (folder, [c1, _]) = separate_kubeconfigs().await?;
    let home = folder.path().join("home");
    fs::create_dir_all(home.join(".kube"))?;
    let at_home = async |unset: bool| -> anyhow::Result<Completed> {
        let mut command = command("", ["links"])?;
        if unset {
            command.env_remove("KUBECONFIG");
        }
        complete({
            command.env("HOME", &home);
            command
        })
        .await
    };
    for unset in [true, false] {
        let expected = ["kubeconfig ~/.kube/config: file not found", "--kubeconfig or KUBECONFIG"];
        at_home(unset).await?.failed_with(&expected)?;
    }
    let file: PathBuf = home.join(".kube/config");
    fs::copy(c1, file)?;
    for unset in [true, false] {
        at_home(unset).await?.stdout()?;
    }
    Ok(())
}

//! The user of a context.

use std::collections::HashMap;
use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use kube::config::{AuthInfo, AuthProviderConfig, ExecAuthCluster};
use secrecy::SecretString;

use super::auth_provider::id_token;
use super::certificates::{decode_pem, is_omitted};
use super::entry::{Entry, Fields};
use super::field_problem::FieldProblem;
use super::identity::check_identity;
use super::policy::Policy;
use super::{exec, impersonation};

/// Reads the credentials, with the contents of files. As for client-go, a token and a password together are an error, and
/// each of them is used instead of a plugin or an auth provider.
pub(super) fn read(
    user: &Entry,
    fields: &Fields<'_>,
    policy: Policy,
    cluster: impl FnOnce() -> ExecAuthCluster,
) -> Result<AuthInfo, FieldProblem> {
    let files = ["tokenFile", "client-certificate", "client-key"];
    policy.check(fields, &["exec", "auth-provider"], &files)?;
    let mut token = token(user, fields)?;
    let (certificate, key) = identity(user, fields)?;
    let (username, password) = (fields.text("username")?, fields.text("password")?);
    if fields.text("token")?.is_some() && (username.is_some() || password.is_some()) {
        return Err(FieldProblem::Both("token", if username.is_some() { "username" } else { "password" }));
    }
    let (exec, provider) = (fields.object("exec")?, fields.object("auth-provider")?);
    if exec.is_some() && provider.is_some() {
        return Err(FieldProblem::Both("exec", "auth-provider"));
    }
    let is_complete = token.is_some() || username.is_some();
    let exec = exec.filter(|_| !is_complete);
    if let Some(provider) = provider.filter(|_| !is_complete) {
        token = valid_token("id-token", Some(id_token(&auth_provider(&provider)?, Timestamp::now())?))?;
    }
    let mut user_info = AuthInfo {
        username,
        password: password.map(SecretString::from),
        token: token.map(SecretString::from),
        client_certificate_data: certificate,
        client_key_data: key.map(SecretString::from),
        exec: exec.map(|exec| exec::read(user, &exec, cluster)).transpose()?,
        ..Default::default()
    };
    impersonation::read(fields, &mut user_info)?;
    Ok(user_info)
}

/// The token, or that of the token file, which may be newer.
fn token(user: &Entry, fields: &Fields<'_>) -> Result<Option<String>, FieldProblem> {
    let inline = fields.text("token")?.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    let field = if fields.text("tokenFile")?.is_some() { "tokenFile" } else { "token" };
    let token = match fields.text("tokenFile")? {
        None => inline,
        Some(path) => match read_token_file(user.path(&path)) {
            // As for client-go, the file only renews the token.
            Err(_) if inline.is_some() => inline,
            token => Some(token?),
        },
    };
    if token.as_deref().is_some_and(is_omitted) {
        return Err(FieldProblem::Omitted("token"));
    }
    valid_token(field, token)
}

/// Refuses tokens that can't be sent in a header, or with a byte order mark.
pub(super) fn valid_token(
    field: &'static str,
    token: Option<String>,
) -> Result<Option<String>, FieldProblem> {
    match token {
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(FieldProblem::InvalidCharacters(field))
        }
        token => Ok(token),
    }
}

/// Reads a token file.
pub(crate) fn read_token_file(path: PathBuf) -> Result<String, FieldProblem> {
    let token = read_file("tokenFile", path.clone())?;
    let token = String::from_utf8(token).map_err(|_| FieldProblem::InvalidCharacters("tokenFile"))?;
    match token.trim() {
        "" => Err(FieldProblem::EmptyTokenFile(path)),
        token => Ok(token.to_owned()),
    }
}

/// The client certificate and its key, as base64-encoded PEM.
fn identity(user: &Entry, fields: &Fields<'_>) -> Result<(Option<String>, Option<String>), FieldProblem> {
    let pem = |data_field: &'static str, file_field: &'static str| match (
        fields.text(data_field)?,
        fields.text(file_field)?,
    ) {
        (Some(data), _) => decode_pem(data_field, &data).map(|pem| Some((data_field, pem))),
        (None, Some(path)) => read_file(file_field, user.path(&path)).map(|pem| Some((file_field, pem))),
        (None, None) => Ok(None),
    };
    let certificate = pem("client-certificate-data", "client-certificate")?;
    let key = pem("client-key-data", "client-key")?;
    match (certificate, key) {
        (Some((certificate_field, certificate)), Some((key_field, key))) => {
            check_identity(&certificate, &key).map_err(|problem| FieldProblem::Identity {
                certificate: certificate_field,
                key: key_field,
                problem,
            })?;
            Ok((Some(STANDARD.encode(certificate)), Some(STANDARD.encode(key))))
        }
        (Some((field, _)), None) => Err(FieldProblem::Half(field, "client-key-data")),
        (None, Some((field, _))) => Err(FieldProblem::Half(field, "client-certificate-data")),
        (None, None) => Ok((None, None)),
    }
}

fn auth_provider(provider: &Fields<'_>) -> Result<AuthProviderConfig, FieldProblem> {
    let mut config = HashMap::new();
    if let Some(fields) = provider.object("config")? {
        for name in fields.names() {
            config.insert(name.to_owned(), fields.text(name)?.unwrap_or_default());
        }
    }
    Ok(AuthProviderConfig {
        name: provider.text("name")?.ok_or(FieldProblem::Empty("auth-provider.name"))?,
        config,
        ..Default::default()
    })
}

pub(super) fn read_file(field: &'static str, path: PathBuf) -> Result<Vec<u8>, FieldProblem> {
    std::fs::read(&path).map_err(|error| FieldProblem::Unreadable { field, path, error: error.into() })
}

//! Impersonation by the user of a context
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>).

use std::collections::HashMap;

use http::HeaderValue;
use kube::config::AuthInfo;

use super::entry::Fields;
use super::field_problem::FieldProblem;

/// Reads the impersonated user.
pub(super) fn read(fields: &Fields<'_>, user: &mut AuthInfo) -> Result<(), FieldProblem> {
    user.impersonate = fields.text("as")?.map(|name| header("as", name)).transpose()?;
    user.impersonate_uid = fields.text("as-uid")?.map(|uid| header("as-uid", uid)).transpose()?;
    user.impersonate_groups = headers(fields, "as-groups", "as-groups")?;
    user.impersonate_user_extra = match fields.object("as-user-extra")? {
        None => None,
        Some(extra) => {
            let values = |name: &str| headers(&extra, name, "as-user-extra").map(Option::unwrap_or_default);
            let extra = extra.names().map(|name| Ok((name.to_owned(), values(name)?)));
            Some(extra.collect::<Result<HashMap<_, _>, FieldProblem>>()?).filter(|extra| !extra.is_empty())
        }
    };
    let others = [
        ("as-uid", user.impersonate_uid.is_some()),
        ("as-groups", user.impersonate_groups.is_some()),
        ("as-user-extra", user.impersonate_user_extra.is_some()),
    ];
    match others.into_iter().find(|(_, is_set)| *is_set) {
        Some((field, _)) if user.impersonate.is_none() => Err(FieldProblem::Requires(field, "as")),
        _ => Ok(()),
    }
}

/// The texts of a list. `None` if it is empty. `name` is for the error.
fn headers(
    fields: &Fields<'_>,
    field: &str,
    name: &'static str,
) -> Result<Option<Vec<String>>, FieldProblem> {
    let values = fields.texts(field)?.into_iter().map(|value| header(name, value));
    Ok(Some(values.collect::<Result<Vec<_>, _>>()?).filter(|values| !values.is_empty()))
}

/// Refuses what a header can't contain.
fn header(field: &'static str, value: String) -> Result<String, FieldProblem> {
    match HeaderValue::from_str(&value) {
        Ok(_) => Ok(value),
        Err(_) => Err(FieldProblem::InvalidCharacters(field)),
    }
}

//! Volumes and their mounts.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::List;
use crate::json::{Object, Text};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Volume<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    secret: Option<Object<SecretSource<'a>>>,
    #[serde(borrow)]
    projected: Option<Object<Projected<'a>>>,
    config_map: Option<IgnoredAny>,
    #[serde(rename = "downwardAPI")]
    downward_api: Option<IgnoredAny>,
    image: Option<IgnoredAny>,
    persistent_volume_claim: Option<Object<Claim>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SecretSource<'a> {
    #[serde(borrow)]
    secret_name: Text<'a>,
    /// All keys if empty.
    items: Option<Vec<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Projected<'a> {
    #[serde(borrow)]
    sources: List<ProjectedSource<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProjectedSource<'a> {
    #[serde(borrow)]
    secret: Option<Object<ProjectedSecret<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProjectedSecret<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    /// All keys if empty.
    items: Option<Vec<IgnoredAny>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Claim {
    read_only: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct VolumeMount<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) mount_path: Text<'a>,
    /// The whole volume if empty.
    #[serde(borrow)]
    sub_path: Text<'a>,
    /// Like `sub_path`, with variables.
    #[serde(borrow)]
    sub_path_expr: Text<'a>,
    read_only: Option<bool>,
}

impl Volume<'_> {
    /// The Secret that the volume has with all keys, and nothing else. The pod's author may choose `defaultMode` and
    /// `optional`.
    pub(crate) fn secret(&self) -> Option<&str> {
        let is_whole = |items: &Option<Vec<IgnoredAny>>| items.as_ref().is_none_or(Vec::is_empty);
        if let Some(secret) = &self.secret {
            return is_whole(&secret.items).then_some(&*secret.secret_name);
        }
        let [source] = self.projected.as_ref()?.sources.as_ref()?.as_slice() else { return None };
        let secret = source.secret.as_ref()?;
        is_whole(&secret.items).then_some(&*secret.name)
    }

    /// Whether the volume is this Secret; see [`Self::secret`].
    pub(crate) fn is_secret(&self, name: &str) -> bool {
        self.secret() == Some(name)
    }

    /// Whether containers can't write to the volume, whatever its mount says.
    pub(crate) fn is_read_only(&self) -> bool {
        let is_claim_read_only = self.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only);
        self.secret.is_some()
            || self.projected.is_some()
            || self.config_map.is_some()
            || self.downward_api.is_some()
            || self.image.is_some()
            || is_claim_read_only == Some(true)
    }
}

impl VolumeMount<'_> {
    pub(crate) fn is_whole(&self) -> bool {
        self.sub_path.is_empty() && self.sub_path_expr.is_empty()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only == Some(true)
    }
}

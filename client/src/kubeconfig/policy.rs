//! What a kubeconfig may do on this machine.

use std::path::Path;

use super::entry::Fields;
use super::field_problem::{FieldProblem, INSECURE};

/// Where a kubeconfig comes from, and so what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The user's own files: all that kubectl allows.
    OwnFiles,
    /// A mounted import: files beside it, but no command. The certificate is verified.
    Mount,
    /// Data of others, such as a Secret: no file, no command. The certificate is verified.
    Data,
    /// Like [`Self::Data`], but the certificate need not be verified.
    UnverifiedData,
}

impl Policy {
    /// Refuses fields that this policy does not allow. `commands` run something, and `files` name files.
    pub(super) fn check(
        self,
        fields: &Fields<'_>,
        commands: &[&'static str],
        files: &[&'static str],
    ) -> Result<(), FieldProblem> {
        let value = |field: &str| fields.value(field).filter(|value| value.as_str() != Some(""));
        let is_refused_command = |field: &&&'static str| self != Self::OwnFiles && value(field).is_some();
        let is_refused_file = |field: &&&'static str| match self {
            Self::OwnFiles => false,
            Self::Mount => value(field).is_some_and(|value| !value.as_str().is_some_and(is_plain_name)),
            Self::Data | Self::UnverifiedData => value(field).is_some(),
        };
        let command = commands.iter().find(is_refused_command);
        match command.or_else(|| files.iter().find(is_refused_file)) {
            Some(field) => Err(FieldProblem::Refused(field)),
            None => Ok(()),
        }
    }

    /// Refuses connections without verification.
    pub(super) fn check_verification(self, is_insecure: bool) -> Result<(), FieldProblem> {
        match self {
            Self::Mount | Self::Data if is_insecure => Err(FieldProblem::Refused(INSECURE)),
            _ => Ok(()),
        }
    }

    /// Whether the server must have an https URL.
    pub(super) fn requires_https(self) -> bool {
        self != Self::OwnFiles
    }
}

/// Whether this is the name of a file in the same folder.
fn is_plain_name(path: &str) -> bool {
    Path::new(path).file_name().is_some_and(|name| name == path)
}

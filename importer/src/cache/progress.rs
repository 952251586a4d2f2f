//! Progress of the watches of one scope.

/// State of a scope's two watches. Imports are listed after Secrets: a Secret that is not listed yet would
/// seem to be missing.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Secrets and then imports were listed completely.
    pub(super) is_listed: bool,
    /// The importer has no right to list.
    pub(super) is_forbidden: bool,
    /// Secrets are being listed.
    pub(super) lists_secrets: bool,
    /// Imports are being listed.
    pub(super) lists_imports: bool,
    /// Imports have to be listed, or listed again.
    pub(super) needs_import_list: bool,
    /// The watch of imports was interrupted and has emitted no event since.
    pub(super) is_interrupted: bool,
}

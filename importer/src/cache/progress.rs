//! How far the watches of one scope are.

/// What is known of a scope's two watches: of its Secrets, and of its imports, which are listed after
/// them. A Secret that is not listed yet would seem to be missing.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether its imports were listed, and before them its Secrets.
    pub(super) is_listed: bool,
    /// Whether it can't be listed, as the importer has no right to.
    pub(super) is_forbidden: bool,
    /// Whether its Secrets are being listed.
    pub(super) lists_secrets: bool,
    /// Whether its imports are being listed.
    pub(super) lists_imports: bool,
    /// Whether its imports are to be listed, or to be listed anew.
    pub(super) wants_imports: bool,
    /// Whether the watch of its imports has ended, and told nothing since.
    pub(super) is_interrupted: bool,
}

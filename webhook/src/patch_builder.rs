//! Builds a JSON patch that adds or replaces, and never removes.

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, ReplaceOperation};
use serde_json::Value;

#[derive(Default)]
pub(crate) struct PatchBuilder(Vec<PatchOperation>);

impl PatchBuilder {
    /// Adds a field, or replaces it.
    pub(crate) fn set(&mut self, path: &[&str], value: Value) {
        self.push(PointerBuf::from_tokens(path.iter().copied()), value);
    }

    /// Replaces an item of a list.
    pub(crate) fn replace(&mut self, list: &[&str], index: usize, value: Value) {
        let path = PointerBuf::from_tokens(list.iter().copied()).with_trailing_token(index);
        self.0.push(PatchOperation::Replace(ReplaceOperation { path, value }));
    }

    /// Appends items to the list at `path`, or creates it.
    pub(crate) fn append(&mut self, path: &[&str], exists: bool, items: Vec<Value>) {
        if items.is_empty() {
            return;
        }
        if !exists {
            return self.set(path, items.into());
        }
        let end = PointerBuf::from_tokens(path.iter().copied()).with_trailing_token("-");
        items.into_iter().for_each(|item| self.push(end.clone(), item));
    }

    fn push(&mut self, path: PointerBuf, value: Value) {
        self.0.push(PatchOperation::Add(AddOperation { path, value }));
    }

    pub(crate) fn build(self) -> Patch {
        Patch(self.0)
    }
}

//! Reports each problem once.

use std::cell::RefCell;

use super::write::NodeError;

/// Reports a problem when it appears or changes, not each time that it is found again.
pub(super) struct Reporter<'a, F> {
    report: &'a F,
    last: RefCell<Option<String>>,
}

impl<'a, F: Fn(&NodeError)> Reporter<'a, F> {
    pub(super) fn new(report: &'a F) -> Self {
        Self { report, last: RefCell::default() }
    }

    pub(super) fn report<T>(&self, result: &Result<T, NodeError>) {
        let problem = result.as_ref().err().map(ToString::to_string);
        let is_new = *self.last.borrow() != problem;
        if let (Err(error), true) = (result, is_new) {
            (self.report)(error);
        }
        self.last.replace(problem);
    }
}

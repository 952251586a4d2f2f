//! Hashes.

use aws_lc_rs::digest::{SHA256, digest};

/// The SHA-256, in hexadecimal digits.
pub(crate) fn sha256(content: &[u8]) -> String {
    digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

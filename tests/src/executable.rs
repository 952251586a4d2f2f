//! Scripts that other programs run.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// Writes an executable file.
///
/// A child process writes it. If this process did, the children that other threads start would have the file open for
/// writing until they execute their own program, and nothing could execute the file until then (`ETXTBSY`).
pub fn write_executable(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let context = || format!("writing {}", path.display());
    let mut child = Command::new("sh")
        .args(["-c", r#"cat > "$1" && chmod 755 "$1""#, "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(context)?;
    let mut stdin = child.stdin.take().with_context(context)?;
    stdin.write_all(content).with_context(context)?;
    drop(stdin);
    let status = child.wait().with_context(context)?;
    ensure!(status.success(), "writing {}: {status}", path.display());
    Ok(())
}

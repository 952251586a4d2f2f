//! Writes the files of a case.

use std::fs;
use std::path::Path;

use anyhow::Context;
use mcsa_tests::write_executable;

use super::case::{Case, Encoding};
use super::render::render;
use super::values::Values;

/// Writes the files to `folder`. Files that begin with `#!` are executable.
pub(super) fn write(case: &Case, folder: &Path, values: &Values) -> anyhow::Result<()> {
    let words = values.words_in(folder);
    for (index, (name, template)) in case.files.iter().enumerate() {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("a file has no folder")?)?;
        let mut bytes = render(template, &words, &case.files).with_context(|| name.clone())?;
        if index == 0 {
            if case.crlf {
                bytes = with_crlf(&bytes);
            }
            bytes = encode(bytes, case.encoding);
        }
        if bytes.starts_with(b"#!") {
            write_executable(&path, &bytes)?;
        } else {
            fs::write(&path, &bytes)?;
        }
    }
    Ok(())
}

fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let byte = |byte: &u8| if *byte == b'\n' { b"\r\n".to_vec() } else { vec![*byte] };
    bytes.iter().flat_map(byte).collect()
}

fn encode(bytes: Vec<u8>, encoding: Encoding) -> Vec<u8> {
    let text = String::from_utf8_lossy(&bytes);
    let units = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes);
    let mut encoded = match encoding {
        Encoding::Utf8 => return bytes,
        Encoding::Utf8WithMark => b"\xEF\xBB\xBF".to_vec(),
        Encoding::Utf16Le | Encoding::BrokenUtf16 => b"\xFF\xFE".to_vec(),
        Encoding::Utf16Be => b"\xFE\xFF".to_vec(),
        Encoding::Utf16WithoutMark => Vec::new(),
    };
    match encoding {
        Encoding::Utf8 | Encoding::Utf8WithMark => encoded.extend(text.as_bytes()),
        Encoding::Utf16Be => encoded.extend(units(u16::to_be_bytes)),
        Encoding::Utf16Le | Encoding::BrokenUtf16 | Encoding::Utf16WithoutMark => {
            encoded.extend(units(u16::to_le_bytes));
        }
    }
    if encoding == Encoding::BrokenUtf16 {
        encoded.push(b'\n');
    }
    encoded
}

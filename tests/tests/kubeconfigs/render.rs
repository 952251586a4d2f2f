//! Fills in the placeholders of templates.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use base64::prelude::{BASE64_STANDARD, Engine};

/// The values of placeholders.
pub(super) type Words = BTreeMap<String, String>;

/// Renders a template. `files` are other templates, for `{{base64 NAME}}` and `{{lines NAME}}`.
pub(super) fn render(template: &str, words: &Words, files: &[(String, String)]) -> anyhow::Result<Vec<u8>> {
    let template = repeat(template)?;
    let mut rest = template.as_str();
    let mut output: Vec<u8> = Vec::new();
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("a placeholder has no end")?;
        output.extend(before.as_bytes());
        let line = output.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let indent = output.get(line..).unwrap_or_default();
        // A value of several lines is indented as its first line.
        let indent = if indent.iter().all(|byte| *byte == b' ') { indent.to_vec() } else { Vec::new() };
        let value = value(name, words, files)?;
        let mut lines = value.split_inclusive(|byte| *byte == b'\n');
        output.extend(lines.next().unwrap_or_default());
        for line in lines {
            output.extend(&indent);
            output.extend(line);
        }
        rest = after;
    }
    output.extend(rest.as_bytes());
    Ok(output)
}

fn value(name: &str, words: &Words, files: &[(String, String)]) -> anyhow::Result<Vec<u8>> {
    let (function, argument) = name.split_once(' ').unwrap_or((name, ""));
    let file = || {
        let file = files.iter().find(|(name, _)| name == argument);
        let (_, template) = file.with_context(|| format!("there is no file {argument}"))?;
        anyhow::Ok(BASE64_STANDARD.encode(render(template, words, files)?))
    };
    Ok(match function {
        "byte" => vec![u8::from_str_radix(argument, 16)?],
        "base64" => file()?.into_bytes(),
        "lines" => in_lines(&file()?).into_bytes(),
        _ => match words.get(name) {
            // A value may have placeholders, too.
            Some(value) if value.contains("{{") => render(value, words, files)?,
            Some(value) => value.clone().into_bytes(),
            None => bail!("there is no value {name}"),
        },
    })
}

/// Lines of 64 characters, as some generators write base64. The last has no end.
pub(super) fn in_lines(base64: &str) -> String {
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    lines.join("\n")
}

/// Repeats what is between `{{repeat N}}` and `{{end}}`. `{{n}}` is the number of the repetition.
fn repeat(template: &str) -> anyhow::Result<String> {
    let mut output = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{repeat ") {
        let (count, after) = after.split_once("}}\n").context("a repetition has no count")?;
        let (body, after) = after.split_once("{{end}}\n").context("a repetition has no end")?;
        output += before;
        for number in 1..=count.parse::<usize>()? {
            output += &body.replace("{{n}}", &number.to_string());
        }
        rest = after;
    }
    Ok(output + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::value("a: {{word}}\n", b"a: one\n")]
    #[case::value_with_a_placeholder("{{nested}}", b"<one>")]
    #[case::lines_are_indented("x: |\n  {{several}}\n", b"x: |\n  1\n  2\n")]
    #[case::lines_after_other_text("x {{several}}", b"x 1\n2")]
    #[case::byte("{{byte e9}}", b"\xE9")]
    #[case::file("{{base64 file}}", b"b25l")]
    #[case::repetition("{{repeat 2}}\n- {{n}}\n{{end}}\n.", b"- 1\n- 2\n.")]
    fn placeholders_are_filled_in(#[case] template: &str, #[case] expected: &[u8]) {
        let words = [("word", "one"), ("nested", "<{{word}}>"), ("several", "1\n2")];
        let words = words.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let files = [("file".to_owned(), "{{word}}".to_owned())];
        assert_eq!(render(template, &words, &files).unwrap(), expected);
    }

    #[rstest]
    #[case("{{unknown}}")]
    #[case("{{base64 unknown}}")]
    #[case("{{word")]
    #[case("{{repeat 2}}\n")]
    fn unknown_placeholders_are_errors(#[case] template: &str) {
        assert!(render(template, &Words::new(), &[]).is_err());
    }
}

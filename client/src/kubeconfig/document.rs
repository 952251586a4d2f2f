//! A kubeconfig, read loosely: each entry keeps its values, of any type, until it is used. As for kubectl, an odd entry is
//! an error only if it is in use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Options, Spanned};

use super::entry::{self, Entry};
use super::place::{EntryKind, Place};
use super::problem::Problem;

/// The most bytes of data of others, and of the texts in it.
const MAX_DATA: usize = 1 << 20;

/// Limits of the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limits {
    /// For data of others: a small text must not expand to a large document.
    Data,
    /// For the user's own files, which may have 10,000 contexts.
    OwnFile,
}

/// One or several kubeconfigs, merged. *Absent:* `Debug`, which would print credentials.
#[derive(Clone, Default)]
pub struct Kubeconfig {
    /// Its files, for messages. Empty for data of others.
    pub(super) files: Vec<PathBuf>,
    current_context: Option<String>,
    contexts: Section,
    clusters: Section,
    users: Section,
}

/// The entries of a kind, in their order, with duplicates.
#[derive(Clone, Default)]
struct Section {
    entries: Vec<Entry>,
    /// The first entry of each name, and how many entries have the name.
    index: HashMap<String, (usize, usize)>,
}

/// The sections of a document. An entry is any value.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Raw {
    current_context: Option<Value>,
    contexts: Option<Vec<Spanned<Value>>>,
    clusters: Option<Vec<Spanned<Value>>>,
    users: Option<Vec<Spanned<Value>>>,
}

impl Kubeconfig {
    /// Parses the first YAML document: kubectl ignores others. Accepts UTF-8, and UTF-16 with a byte order mark, which
    /// PowerShell writes. `file` is the text's file: relative paths begin in its folder.
    pub(super) fn parse(text: &[u8], file: Option<&Path>, limits: Limits) -> Result<Self, Problem> {
        let file: Option<Arc<Path>> = file.map(Into::into);
        if limits == Limits::Data && text.len() > MAX_DATA {
            return Err(Problem::TooComplex(Place::new(file, None)));
        }
        // The parser's message may quote a credential.
        let document = read_first_document(text, limits).map_err(|error| {
            let place = Place::new(file.clone(), error.location().map(|at| (at.line(), at.column())));
            match error.without_snippet() {
                serde_saphyr::Error::Budget { .. } | serde_saphyr::Error::AliasReplayLimitExceeded { .. } => {
                    Problem::TooComplex(place)
                }
                serde_saphyr::Error::IOError { .. } => Problem::NotText(place),
                _ => Problem::NotAKubeconfig(place),
            }
        })?;
        let Some(document) = document else { return Ok(Self::default()) };
        let section = |kind, entries: Option<Vec<Spanned<Value>>>| {
            let entries = entries.unwrap_or_default().into_iter();
            Section::new(entries.filter_map(|entry| Entry::new(kind, entry, file.as_ref())))
        };
        Ok(Self {
            files: Vec::new(),
            contexts: section(EntryKind::Context, document.contexts),
            clusters: section(EntryKind::Cluster, document.clusters),
            users: section(EntryKind::User, document.users),
            // `kubectl config unset current-context` writes an empty name.
            current_context: document.current_context.as_ref().and_then(entry::text),
        })
    }

    /// Adds the entries of another file, except those whose names are known
    /// (<https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files>).
    pub(super) fn merge(&mut self, next: Self) {
        self.contexts.append_new(next.contexts);
        self.clusters.append_new(next.clusters);
        self.users.append_new(next.users);
        self.current_context = self.current_context.take().or(next.current_context);
    }

    /// The name of the current context.
    pub fn current_context(&self) -> Option<&str> {
        self.current_context.as_deref()
    }

    /// The contexts, in their order.
    pub fn contexts(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.contexts.entries.iter()
    }

    /// The first context, cluster or user of this name.
    pub fn find(&self, kind: EntryKind, name: &str) -> Option<&Entry> {
        let section = self.section(kind);
        section.index.get(name).and_then(|(first, _)| section.entries.get(*first))
    }

    /// The entries of a kind, in their order. Names may be duplicate.
    #[cfg(feature = "argo")]
    pub(crate) fn entries(&self, kind: EntryKind) -> &[Entry] {
        &self.section(kind).entries
    }

    /// How many entries of a kind have this name.
    #[cfg(feature = "argo")]
    pub(crate) fn count(&self, kind: EntryKind, name: &str) -> usize {
        self.section(kind).index.get(name).map_or(0, |(_, count)| *count)
    }

    fn section(&self, kind: EntryKind) -> &Section {
        match kind {
            EntryKind::Context => &self.contexts,
            EntryKind::Cluster => &self.clusters,
            EntryKind::User => &self.users,
        }
    }
}

impl Section {
    fn new(entries: impl Iterator<Item = Entry>) -> Self {
        let mut section = Self::default();
        entries.for_each(|entry| section.push(entry));
        section
    }

    fn push(&mut self, entry: Entry) {
        let (_, count) = self.index.entry(entry.name().to_owned()).or_insert((self.entries.len(), 0));
        *count += 1;
        self.entries.push(entry);
    }

    fn append_new(&mut self, next: Self) {
        // Duplicates within a file are kept: an error names them.
        let new: Vec<_> =
            next.entries.into_iter().filter(|entry| !self.index.contains_key(entry.name())).collect();
        new.into_iter().for_each(|entry| self.push(entry));
    }
}

/// `None`: there is no document, or it is null.
fn read_first_document(mut text: &[u8], limits: Limits) -> Result<Option<Raw>, serde_saphyr::Error> {
    // Almost all files are one document in UTF-8, which is parsed in half the time without a reader.
    if let Ok(text) = str::from_utf8(text)
        && let Ok(document) = serde_saphyr::from_str_with_options(text, options(limits))
    {
        return Ok(Some(document));
    }
    serde_saphyr::read_with_options(&mut text, options(limits)).next().transpose()
}

fn options(limits: Limits) -> Options {
    // As for kubectl, the last of two equal keys wins.
    let mut options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    match limits {
        // The size of a Secret is limited to 1 MiB, and real ones have no aliases. The bytes of aliases count, too.
        Limits::Data => {
            options.budget = serde_saphyr::budget! { max_total_scalar_bytes: MAX_DATA };
            options.alias_limits = serde_saphyr::alias_limits! { max_total_replayed_events: 1_000 };
        }
        // The limit of the depth stays: values are nested on the stack.
        Limits::OwnFile => {
            options.budget = serde_saphyr::budget! {
                max_events: usize::MAX,
                max_nodes: usize::MAX,
                max_aliases: usize::MAX,
                max_anchors: usize::MAX,
                max_merge_keys: usize::MAX,
                max_documents: usize::MAX,
                max_total_scalar_bytes: usize::MAX,
                max_recorded_anchor_events: usize::MAX,
                max_recorded_anchor_bytes: usize::MAX,
                max_reader_input_bytes: None,
                enforce_alias_anchor_ratio: false,
            };
            options.alias_limits = serde_saphyr::alias_limits! { max_total_replayed_events: 1_000_000 };
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::fmt::Write;

    fn parse(text: &str) -> Result<Kubeconfig, Problem> {
        Kubeconfig::parse(text.as_bytes(), Some(Path::new("/k/config")), Limits::OwnFile)
    }

    fn names(kubeconfig: &Kubeconfig) -> Vec<&str> {
        kubeconfig.contexts().map(Entry::name).collect()
    }

    #[rstest]
    #[case::no_document("", &[])]
    #[case::comment("# nothing", &[])]
    #[case::null("null", &[])]
    #[case::null_section("contexts: null", &[])]
    #[case::duplicate_key("contexts: [{name: a}]\ncontexts: [{name: b}]", &["b"])]
    #[case::duplicate_key_in_an_entry("contexts: [{name: a, name: b}]", &["b"])]
    #[case::duplicate_name("contexts: [{name: a}, {name: a}]", &["a", "a"])]
    #[case::documents("contexts: [{name: a}]\n---\ncontexts: [{name: b}]", &["a"])]
    #[case::invalid_second_document("contexts: [{name: a}]\n---\n]", &["a"])]
    #[case::null_first_document("null\n---\ncontexts: [{name: b}]", &["b"])]
    #[case::json(r#"{"contexts": [{"name": "a"}]}"#, &["a"])]
    #[case::line_breaks_of_windows("contexts:\r\n- name: a\r\n", &["a"])]
    #[case::odd_entries("contexts: [5, null, [], {}, {name: null}, {name: []}, {name: 7}, {name: a}]", &["7", "a"])]
    #[case::merge_key("x: &x {name: a}\ncontexts: [{<<: *x}]", &["a"])]
    fn entries_are_read_loosely(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(names(&parse(text).map_err(|problem| problem.to_string()).unwrap()), expected);
    }

    #[rstest]
    #[case("contexts:\n\t- name: t0ken", "/k/config:2:2")]
    #[case("users:\n- name: 't0ken\n", "/k/config:3:1")]
    #[case("t0ken", "/k/config:1:1")]
    #[case("contexts: t0ken", "/k/config:1:11")]
    fn errors_have_a_place_and_quote_nothing(#[case] text: &str, #[case] place: &str) {
        let problem = parse(text).err().unwrap().to_string();
        assert!(problem.starts_with(place) && !problem.contains("t0ken"), "{problem}");
    }

    #[rstest]
    #[case::utf8(b"\xef\xbb\xbfcurrent-context: a", Some("a"))]
    #[case::utf16_le(&utf16("current-context: a", u16::to_le_bytes), Some("a"))]
    #[case::utf16_be(&utf16("current-context: a", u16::to_be_bytes), Some("a"))]
    #[case::latin1(b"current-context: \xe9", None)]
    fn encodings(#[case] text: &[u8], #[case] expected: Option<&str>) {
        match Kubeconfig::parse(text, None, Limits::OwnFile) {
            Ok(read) => assert_eq!(read.current_context(), expected),
            Err(problem) => {
                assert!(expected.is_none() && matches!(problem, Problem::NotText(_)), "{problem}")
            }
        }
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn only_the_data_of_others_is_limited() {
        let mut many = "contexts:\n".to_owned();
        for number in 0..60_000 {
            writeln!(many, "- {{name: c{number}, context: {{cluster: c, user: u}}}}").unwrap();
        }
        let mut aliases = "x: &x {cluster: c}\ncontexts:\n".to_owned();
        for number in 0..200 {
            writeln!(aliases, "- {{name: c{number}, context: *x}}").unwrap();
        }
        for (text, count) in [(&many, 60_000), (&aliases, 200)] {
            assert_eq!(parse(text).map_err(|problem| problem.to_string()).unwrap().contexts().len(), count);
            let limited = Kubeconfig::parse(text.as_bytes(), None, Limits::Data);
            assert!(matches!(limited.err(), Some(Problem::TooComplex(_))));
        }
    }

    #[test]
    fn the_first_file_wins() {
        let mut merged =
            parse("contexts: [{name: a, context: {cluster: '1'}}]\ncurrent-context: ''").ok().unwrap();
        merged.merge(
            parse("contexts: [{name: a, context: {cluster: '2'}}, {name: b}]\ncurrent-context: b")
                .ok()
                .unwrap(),
        );
        assert_eq!((names(&merged), merged.current_context()), (vec!["a", "b"], Some("b")));
        let first = merged.find(EntryKind::Context, "a").unwrap().fields().unwrap();
        assert_eq!(first.text("cluster").unwrap().as_deref(), Some("1"));
    }
}

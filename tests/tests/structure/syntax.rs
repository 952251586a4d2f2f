//! Collects the names and paths of one module from its tokens: enough for this, and much faster than parsing.
//! Code under `#[cfg(test)]` is left out.

use crate::module::{Module, Name, Segments};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// `mod name;`, or `mod name { … }`.
pub struct Child {
    pub name: String,
    /// From `#[path = "…"]`.
    pub path: Option<String>,
    pub content: Option<TokenStream>,
}

/// The module, still without a file and without its child modules, which come beside it.
pub fn collect(tokens: TokenStream) -> (Module, Vec<Child>) {
    let mut collector = Collector::default();
    collector.read(tokens, true);
    (collector.module, collector.children)
}

#[derive(Default)]
struct Collector {
    module: Module,
    children: Vec<Child>,
}

impl Collector {
    /// `is_top`: outside of functions and all other braces, where names are declared.
    fn read(&mut self, tokens: TokenStream, is_top: bool) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut rest = &tokens[..];
        let mut file = None;
        while let Some(token) = rest.first() {
            rest = match rest {
                [TokenTree::Punct(hash), TokenTree::Group(attribute), after @ ..]
                    if hash.as_char() == '#' =>
                {
                    if is_for_tests(attribute) {
                        let end = after.iter().position(ends_item).map_or(after.len(), |end| end + 1);
                        &after[end..]
                    } else {
                        file = file.or(path_attribute(attribute));
                        self.read_attribute(attribute);
                        after
                    }
                }
                [TokenTree::Ident(word), after @ ..] if word == "use" => {
                    let end = after.iter().position(|token| is(token, ';')).unwrap_or(after.len());
                    self.import(&after[..end], Segments::new());
                    &after[end..]
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), after @ ..] if is_top && word == "mod" => {
                    let content = match after.first() {
                        Some(TokenTree::Group(content)) => Some(content.stream()),
                        _ => None,
                    };
                    self.children.push(Child { name: name.to_string(), path: file.take(), content });
                    &after[1..]
                }
                [TokenTree::Ident(word), TokenTree::Ident(name), after @ ..]
                    if is_top && declares(&word.to_string()) =>
                {
                    self.declare(&name.to_string());
                    after
                }
                [TokenTree::Ident(word), _, TokenTree::Ident(name), after @ ..] if word == "macro_rules" => {
                    self.declare(&name.to_string());
                    after
                }
                // A field or a method, not the end of a range; and a lifetime.
                [TokenTree::Punct(a), TokenTree::Punct(b), after @ ..]
                    if a.as_char() == '.' && b.as_char() == '.' =>
                {
                    after
                }
                [TokenTree::Punct(punct), TokenTree::Ident(_), after @ ..]
                    if ['.', '\''].contains(&punct.as_char()) =>
                {
                    after
                }
                [TokenTree::Ident(_), ..] => self.mention(rest, true),
                [TokenTree::Punct(a), TokenTree::Punct(b), after @ ..]
                    if a.as_char() == ':' && b.as_char() == ':' =>
                {
                    self.mention(after, false)
                }
                [_, after @ ..] => {
                    if let TokenTree::Group(group) = token {
                        self.read(group.stream(), false);
                    }
                    after
                }
                [] => rest,
            };
        }
    }

    fn read_attribute(&mut self, attribute: &Group) {
        for token in attribute.stream() {
            if let TokenTree::Group(arguments) = token {
                self.read(arguments.stream(), false);
            }
        }
    }

    fn declare(&mut self, name: &str) {
        self.module.names.entry(name.to_owned()).or_default().push(Name::Item);
    }

    /// Reads the path that `tokens` begin with, and keeps it unless it begins in another crate or a type.
    fn mention<'a>(&mut self, mut tokens: &'a [TokenTree], keep: bool) -> &'a [TokenTree] {
        let mut path = Segments::new();
        while let [TokenTree::Ident(name), after @ ..] = tokens {
            path.push(name.to_string());
            tokens = after;
            match after {
                [a, b, after @ ..]
                    if is(a, ':') && is(b, ':') && matches!(after.first(), Some(TokenTree::Ident(_))) =>
                {
                    tokens = after;
                }
                _ => break,
            }
        }
        if keep {
            self.module.mentions.push(path);
        }
        tokens
    }

    /// The tree of a `use`, or a part of one.
    fn import(&mut self, tree: &[TokenTree], mut prefix: Segments) {
        match tree {
            [TokenTree::Ident(name), a, b, rest @ ..] if is(a, ':') && is(b, ':') => {
                prefix.push(name.to_string());
                self.import(rest, prefix);
            }
            [TokenTree::Group(group)] => {
                let parts: Vec<_> = group.stream().into_iter().collect();
                for part in parts.split(|token| is(token, ',')) {
                    self.import(part, prefix.clone());
                }
            }
            [TokenTree::Punct(star)] if star.as_char() == '*' => self.module.globs.push(prefix),
            [TokenTree::Ident(name)] => self.import_name(prefix, name.to_string(), None),
            [TokenTree::Ident(name), _as, TokenTree::Ident(local)] => {
                self.import_name(prefix, name.to_string(), Some(local.to_string()));
            }
            _ => {}
        }
    }

    fn import_name(&mut self, mut path: Segments, name: String, local: Option<String>) {
        if name != "self" {
            path.push(name);
        }
        let Some(local) = local.or(path.last().cloned()) else { return };
        self.module.mentions.push(path.clone());
        self.module.names.entry(local).or_default().push(Name::Import(path));
    }
}

fn is(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == punct)
}

fn ends_item(token: &TokenTree) -> bool {
    is(token, ';') || matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

fn declares(word: &str) -> bool {
    ["const", "enum", "fn", "mut", "static", "struct", "trait", "type", "union"].contains(&word)
}

fn is_for_tests(attribute: &Group) -> bool {
    attribute.stream().to_string().replace(' ', "") == "cfg(test)"
}

fn path_attribute(attribute: &Group) -> Option<String> {
    let text = attribute.stream().to_string();
    Some(text.strip_prefix("path = \"")?.strip_suffix('"')?.to_owned())
}

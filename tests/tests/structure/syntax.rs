//! Collects the names and paths of a module from its tokens, which is much faster than parsing. Omits code under
//! `#[cfg(test)]`.

use crate::module::{Module, Name, Segments};
use crate::token::Token::{self, Braces, Group, Literal, PathSeparator, Punct, Word};

/// `mod name;`, or `mod name { … }`.
pub struct Child<'a> {
    pub name: &'a str,
    /// From `#[path = "…"]`.
    pub path: Option<&'a str>,
    pub content: Option<&'a [Token]>,
}

/// The module, without its file, and its child modules.
pub fn collect(tokens: &[Token]) -> (Module, Vec<Child<'_>>) {
    let mut collector = Collector::default();
    collector.read(tokens, true);
    (collector.module, collector.children)
}

#[derive(Default)]
struct Collector<'a> {
    module: Module,
    children: Vec<Child<'a>>,
}

impl<'a> Collector<'a> {
    /// `is_top`: outside of all braces, where names are declared.
    fn read(&mut self, mut tokens: &'a [Token], is_top: bool) {
        let mut path = None;
        while !tokens.is_empty() {
            tokens = match tokens {
                [Punct('#'), Group(attribute), rest @ ..] if is_for_tests(attribute) => after_item(rest),
                [Punct('#'), Group(attribute), rest @ ..] => {
                    match &attribute[..] {
                        [Word(name), Punct('='), Literal(value)] if name == "path" => {
                            path = Some(value.trim_matches('"'));
                        }
                        [.., Group(arguments)] => self.read(arguments, false),
                        _ => {}
                    }
                    rest
                }
                [Word(keyword), rest @ ..] if keyword == "use" => {
                    let end = rest.iter().position(|token| matches!(token, Punct(';')));
                    let (tree, rest) = rest.split_at(end.unwrap_or(rest.len()));
                    self.import(tree, &[]);
                    rest
                }
                [Word(keyword), Word(name), rest @ ..] if is_top && keyword == "mod" => {
                    let content = match rest {
                        [Braces(content), ..] => Some(&content[..]),
                        _ => None,
                    };
                    self.children.push(Child { name, path: path.take(), content });
                    &rest[1..]
                }
                [Word(keyword), Word(name), rest @ ..] if is_top && DECLARING.contains(&&keyword[..]) => {
                    self.declare(name, Name::Item);
                    rest
                }
                [Word(keyword), Punct('!'), Word(name), rest @ ..] if keyword == "macro_rules" => {
                    self.declare(name, Name::Item);
                    rest
                }
                // Skips ranges, fields, methods, lifetimes, and paths into other crates.
                [Punct('.'), Punct('.'), rest @ ..] => rest,
                [Punct('.' | '\''), Word(_), rest @ ..] => rest,
                [PathSeparator, rest @ ..] => split_path(rest).1,
                [Word(_), ..] => {
                    let (path, rest) = split_path(tokens);
                    self.module.mentions.push(path);
                    rest
                }
                [Braces(inner) | Group(inner), rest @ ..] => {
                    self.read(inner, false);
                    rest
                }
                [_, rest @ ..] => rest,
                [] => tokens,
            };
        }
    }

    fn declare(&mut self, name: &str, meaning: Name) {
        self.module.names.entry(name.to_owned()).or_default().push(meaning);
    }

    /// The tree of a `use`, or a part of it after `prefix`.
    fn import(&mut self, tree: &[Token], prefix: &[String]) {
        match tree {
            [Word(name), PathSeparator, rest @ ..] => self.import(rest, &join(prefix, name)),
            [Braces(parts)] => {
                for part in parts.split(|token| matches!(token, Punct(','))) {
                    self.import(part, prefix);
                }
            }
            [Punct('*')] => self.module.globs.push(prefix.to_vec()),
            [Word(name)] if name == "self" => {
                self.import_path(prefix.to_vec(), prefix.last().map_or("", String::as_str));
            }
            [Word(name)] => self.import_path(join(prefix, name), name),
            [Word(name), _as, Word(local)] if name == "self" => self.import_path(prefix.to_vec(), local),
            [Word(name), _as, Word(local)] => self.import_path(join(prefix, name), local),
            _ => {}
        }
    }

    fn import_path(&mut self, path: Segments, local: &str) {
        self.module.mentions.push(path.clone());
        self.declare(local, Name::Import(path));
    }
}

/// Keywords before the name of an item.
const DECLARING: [&str; 9] = ["const", "enum", "fn", "mut", "static", "struct", "trait", "type", "union"];

pub fn is_for_tests(attribute: &[Token]) -> bool {
    match attribute {
        [Word(cfg), Group(condition)] => {
            cfg == "cfg" && matches!(&condition[..], [Word(test)] if test == "test")
        }
        _ => false,
    }
}

/// The tokens after the first item.
pub fn after_item(tokens: &[Token]) -> &[Token] {
    let end = tokens.iter().position(|token| matches!(token, Punct(';') | Braces(_)));
    &tokens[end.map_or(tokens.len(), |end| end + 1)..]
}

/// Splits a path off the start of the tokens.
fn split_path(mut tokens: &[Token]) -> (Segments, &[Token]) {
    let mut path = Segments::new();
    while let [Word(name), rest @ ..] = tokens {
        path.push(name.clone());
        tokens = rest;
        match rest {
            [PathSeparator, Word(_), ..] => tokens = &rest[1..],
            _ => break,
        }
    }
    (path, tokens)
}

fn join(prefix: &[String], name: &str) -> Segments {
    [prefix, &[name.to_owned()]].concat()
}

//! Rust's tokens, in the form that [`crate::syntax`] matches.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

pub enum Token {
    /// An identifier or a keyword.
    Word(String),
    Punct(char),
    /// `::`
    PathSeparator,
    Braces(Vec<Token>),
    /// Anything in parentheses or brackets.
    Group(Vec<Token>),
    Literal(String),
}

pub fn tokens(stream: TokenStream) -> Vec<Token> {
    let mut tokens = Vec::new();
    for tree in stream {
        let token = match tree {
            TokenTree::Ident(word) => Token::Word(word.to_string()),
            TokenTree::Punct(punct) => match (punct.as_char(), tokens.last()) {
                (':', Some(Token::Punct(':'))) => {
                    tokens.pop();
                    Token::PathSeparator
                }
                (char, _) => Token::Punct(char),
            },
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                Token::Braces(self::tokens(group.stream()))
            }
            TokenTree::Group(group) => Token::Group(self::tokens(group.stream())),
            TokenTree::Literal(literal) => Token::Literal(literal.to_string()),
        };
        tokens.push(token);
    }
    tokens
}

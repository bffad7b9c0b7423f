//! The annotated function, read as far as it matters.
//!
//! The compiler has parsed the item before it hands it over, so that it is an item, and a complete one, needs no proof.
//! Only what stands before the body is looked at, and of that the return type not at all: it is what lies between the
//! parameters and the body. A fragment of a `macro_rules!` (`$visibility`, `$body`) arrives in a group without delimiters
//! and is passed on as it is.

use std::iter::Peekable;

use proc_macro::token_stream::IntoIter;
use proc_macro::{Group, Ident, TokenStream, TokenTree};

use crate::error::Error;
use crate::{Attribute, source};

/// An `async fn` without parameters, in its parts. All tokens are the user's.
pub(crate) struct Function {
    pub(crate) attributes: TokenStream,
    pub(crate) visibility: TokenStream,
    async_: TokenTree,
    /// What an ordinary function of this kind begins with: from `fn` up to the body.
    pub(crate) signature: TokenStream,
    body: TokenTree,
    name: Ident,
    parameters: Group,
}

impl Function {
    pub(crate) fn parse(attribute: Attribute, item: TokenStream) -> Result<Self, Error> {
        let refuse = |token: TokenTree, sentence: &str| {
            let sentence = format!("`{}` {sentence}", attribute.name());
            Err(Error::new(token.span(), sentence))
        };
        let mut tokens = item.into_iter().peekable();
        let attributes = take_attributes(&mut tokens);
        let visibility = take_visibility(&mut tokens);
        if let Attribute::Test = attribute
            && let Some(again) = attributes.clone().into_iter().find(is_test)
        {
            return refuse(
                again,
                "makes this a test, which with `#[test]` would run twice",
            );
        }
        let mut next = || tokens.next().expect("an item is complete");

        let async_ = next();
        if is_word(&async_, "fn") {
            return refuse(
                async_,
                "needs an `async fn`: write `async` before this `fn`",
            );
        } else if !is_word(&async_, "async") {
            return refuse(async_, "belongs on a plain `async fn`");
        }
        let fn_ = next();
        if !is_word(&fn_, "fn") {
            return refuse(fn_, "belongs on a plain `async fn`");
        }
        let TokenTree::Ident(name) = next() else {
            unreachable!("a function has a name")
        };
        let parameters = match next() {
            TokenTree::Group(group) => group,
            bracket => {
                return refuse(
                    bracket,
                    "calls the function itself, and cannot choose generic parameters",
                );
            }
        };
        if let Some(parameter) = parameters.stream().into_iter().next() {
            return refuse(
                parameter,
                "calls the function itself, and has no arguments for it",
            );
        }
        let mut output: Vec<_> = tokens.collect();
        let body = output.pop().expect("an item is complete");
        if let TokenTree::Punct(_) = body {
            return refuse(body, "needs a function with a body");
        }

        let mut signature =
            TokenStream::from_iter([fn_, name.clone().into(), parameters.clone().into()]);
        signature.extend(output);
        Ok(Self {
            attributes,
            visibility,
            async_,
            signature,
            body,
            name,
            parameters,
        })
    }

    /// The function without what stands before `async`.
    pub(crate) fn as_written(&self) -> TokenStream {
        let mut function = TokenStream::from(self.async_.clone());
        function.extend(self.signature.clone());
        function.extend([self.body.clone()]);
        function
    }

    /// `name()`
    pub(crate) fn call(&self) -> TokenStream {
        TokenStream::from_iter::<[TokenTree; 2]>([
            self.name.clone().into(),
            self.parameters.clone().into(),
        ])
    }
}

/// Has the name of a function that was refused, and fits wherever that is called.
pub(crate) fn stand_in(item: TokenStream) -> TokenStream {
    let mut from_fn = item.into_iter().skip_while(|token| !is_word(token, "fn"));
    match (from_fn.next(), from_fn.next()) {
        (Some(fn_), Some(name)) => {
            let mut function = TokenStream::from_iter([fn_, name]);
            function.extend(source("() -> ! { loop {} }"));
            function
        }
        _ => TokenStream::new(), // it was no function
    }
}

/// `#[…]`, any number of times. Doc comments have this form too.
fn take_attributes(tokens: &mut Peekable<IntoIter>) -> TokenStream {
    let mut attributes = TokenStream::new();
    while let Some(hash) =
        tokens.next_if(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '#'))
    {
        attributes.extend([hash]);
        attributes.extend(tokens.next());
    }
    attributes
}

/// Nothing, `pub`, `pub(…)`, or one of these from a macro.
fn take_visibility(tokens: &mut Peekable<IntoIter>) -> TokenStream {
    let keyword = tokens.next_if(|token| is_word(token, "pub"));
    let group = tokens.next_if(|token| matches!(token, TokenTree::Group(_)));
    keyword.into_iter().chain(group).collect()
}

/// The `[test]` of a `#[test]`.
fn is_test(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.stream().to_string() == "test")
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}

//! A refusal: one sentence, at one place in the user's source text.

use proc_macro::{Span, TokenStream, TokenTree};

use crate::source;

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct Error {
    at: Span,
    sentence: String,
}

impl Error {
    pub(crate) fn new(at: Span, sentence: impl Into<String>) -> Self {
        Self {
            at,
            sentence: sentence.into(),
        }
    }

    /// A `compile_error!` of which every token is at the place, so that the compiler points there.
    pub(crate) fn into_tokens(self) -> TokenStream {
        let tokens = source(&format!("::core::compile_error! {{ {:?} }}", self.sentence));
        let put_there = |mut token: TokenTree| {
            token.set_span(self.at);
            token
        };
        tokens.into_iter().map(put_there).collect()
    }
}

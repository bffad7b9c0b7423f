//! The attributes of wakeful, `main` and `test`: an `async fn` becomes an ordinary one that builds a runtime for it.
//!
//! ```text
//! #[wakeful::main(workers = 4)]            fn main() -> Output {
//! async fn main() -> Output { body }  ──▶      async fn main() -> Output { body }
//!                                              ::wakeful::Builder::new().workers(4).build().expect("…").block_on(main())
//!                                          }
//! ```
//!
//! * **What the user wrote keeps its place.** The inner function is made of the user's tokens, spans included, so the
//!   compiler says of the body what it would say without the attribute, and says it there. An `async` block in the call
//!   of `block_on` would have no return type written down, and leave it to inference.
//! * **Generated code names nothing that the user could have renamed**: paths are absolute, and there are no variables.
//! * **Every refusal is one sentence at the token it is about** (`error`). A function of that name is there nevertheless, so
//!   no second error says that `main` is missing.
//! * Attributes other than these two are kept as they are and in their order, before the `#[test]` that is added.
//!
//! The token trees are read by hand: `options` is a list of `key = value`, and of a function only its head matters
//! (`function`). *Rejected:* `syn` and `quote`, which every user would build first, for a parser of all of Rust.
//!
//! The documentation for users, with examples, is where they meet the attributes: at their re-export in `wakeful`.
#![forbid(unsafe_code)]

mod error;
mod function;
mod options;

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

use error::Error;
use function::Function;
use options::Options;

/// The function becomes one that builds a runtime, runs the annotated function to its end in `block_on`, and returns what it
/// returned.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::Main, arguments, item)
}

/// The function becomes a `#[test]` that builds a runtime, runs the annotated function to its end in `block_on`, and returns
/// what it returned.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::Test, arguments, item)
}

/// Which of the two was written.
#[derive(Copy, Clone, Debug)]
enum Attribute {
    Main,
    Test,
}

impl Attribute {
    /// As it is written, for error messages.
    fn name(self) -> &'static str {
        match self {
            Self::Main => "#[wakeful::main]",
            Self::Test => "#[wakeful::test]",
        }
    }
}

fn expand(attribute: Attribute, arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut expansion = TokenStream::new();
    let mut report = |error: Error| expansion.extend(error.into_tokens());

    let options = Options::parse(attribute, arguments).unwrap_or_else(|error| {
        report(error);
        Options::of(attribute)
    });
    match Function::parse(attribute, item.clone()) {
        Ok(function) => expansion.extend(entry(attribute, options, function)),
        Err(error) => {
            report(error);
            expansion.extend(function::stand_in(item));
        }
    }
    expansion
}

/// The function that takes the place of `function`.
fn entry(attribute: Attribute, options: Options, function: Function) -> TokenStream {
    let mut block = function.as_written();
    block.extend(options.into_runtime());
    block.extend(source(".block_on"));
    block.extend([group(Delimiter::Parenthesis, function.call())]);

    let mut entry = function.attributes;
    if let Attribute::Test = attribute {
        entry.extend(source("#[::core::prelude::v1::test]"));
    }
    entry.extend(function.visibility);
    entry.extend(function.signature);
    entry.extend([group(Delimiter::Brace, block)]);
    entry
}

fn group(delimiter: Delimiter, content: TokenStream) -> TokenTree {
    Group::new(delimiter, content).into()
}

/// Tokens of ours, which belong to the place of the attribute.
fn source(text: &str) -> TokenStream {
    text.parse()
        .expect("source text of ours consists of tokens")
}

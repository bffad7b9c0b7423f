//! What stands in the parentheses of an attribute: `key` or `key = value`, with commas between them.
//!
//! | key | value | becomes |
//! |---|---|---|
//! | `workers` | a number from 1 | `.workers(…)` |
//! | `virtual_time` | none, or a `bool` | `.virtual_time(true)`; it needs one worker |
//! | `seed` | a number | `.seed(…)` |
//! | `crate` | a path | where `Builder` is, if not in `::wakeful` |
//!
//! Numbers and paths go into the expansion as the user wrote them, so what only the compiler can know (a path that leads
//! nowhere) is an error at their place too. What `Builder::build` knows better (how many workers are too many) is left to it.

use proc_macro::{Delimiter, Ident, Literal, Span, TokenStream, TokenTree};

use crate::error::Error;
use crate::{Attribute, group, source};

/// How the runtime is to be built.
pub(crate) struct Options {
    /// If not given, as many as `Builder` takes by default.
    workers: Option<Number>,
    virtual_time: bool,
    seed: Option<Number>,
    wakeful: TokenStream,
}

impl Options {
    /// Those of an attribute without parentheses.
    pub(crate) fn of(attribute: Attribute) -> Self {
        Self {
            workers: match attribute {
                Attribute::Main => None,
                Attribute::Test => Some(Number::one()),
            },
            virtual_time: false,
            seed: None,
            wakeful: source("::wakeful"),
        }
    }

    pub(crate) fn parse(attribute: Attribute, arguments: TokenStream) -> Result<Self, Error> {
        let mut options = Self::of(attribute);
        let mut virtual_time_at = Span::call_site();
        let mut seen = Vec::new();
        for setting in settings(arguments)? {
            let (name, at) = (setting.key.to_string(), setting.key.span());
            if seen.contains(&name) {
                return Err(Error::new(at, format!("`{name}` is given twice")));
            }
            match name.as_str() {
                "workers" => {
                    options.workers =
                        Some(setting.number(1, "a whole number from 1, such as `workers = 4`")?);
                }
                "virtual_time" => {
                    options.virtual_time = setting.flag()?;
                    virtual_time_at = at;
                }
                "seed" => {
                    options.seed =
                        Some(setting.number(0, "a whole number of 64 bits, such as `seed = 42`")?)
                }
                "crate" => options.wakeful = setting.path()?,
                _ => {
                    let known = "`workers`, `virtual_time`, `seed` and `crate`";
                    return Err(Error::new(
                        at,
                        format!("there is no option `{name}`; there are {known}"),
                    ));
                }
            }
            seen.push(name);
        }
        let workers = options.workers.as_ref();
        if options.virtual_time && workers.is_none_or(|count| count.value != 1) {
            let at = workers.map_or(virtual_time_at, |count| count.literal.span());
            return Err(Error::new(
                at,
                "`virtual_time` needs a runtime with one worker: `workers = 1`",
            ));
        }
        Ok(options)
    }

    /// The expression that builds the runtime.
    pub(crate) fn into_runtime(self) -> TokenStream {
        let mut runtime = self.wakeful;
        runtime.extend(source("::Builder::new()"));
        let mut set = |method: &str, value: TokenStream| {
            runtime.extend(source(method));
            runtime.extend([group(Delimiter::Parenthesis, value)]);
        };
        if let Some(count) = self.workers {
            set(".workers", count.into_tokens());
        }
        if self.virtual_time {
            set(".virtual_time", source("true"));
        }
        if let Some(seed) = self.seed {
            set(".seed", seed.into_tokens());
        }
        runtime.extend(source(".build().expect(\"the runtime cannot be built\")"));
        runtime
    }
}

/// One `key` or `key = value`.
struct Setting {
    key: Ident,
    /// Empty if there is only a key.
    value: Vec<TokenTree>,
}

impl Setting {
    fn number(&self, least: u64, what: &str) -> Result<Number, Error> {
        self.single(what, |token| {
            let TokenTree::Literal(literal) = token else {
                return None;
            };
            let value = whole_number(&literal.to_string())?;
            (value >= least).then(|| Number {
                value,
                literal: literal.clone(),
            })
        })
    }

    fn flag(&self) -> Result<bool, Error> {
        if self.value.is_empty() {
            return Ok(true);
        }
        self.single("`true` or `false`, or no value", |token| {
            token.to_string().parse().ok()
        })
    }

    fn path(&self) -> Result<TokenStream, Error> {
        let is_part = |token: &TokenTree| match token {
            TokenTree::Ident(_) => true,
            TokenTree::Punct(punct) => punct.as_char() == ':',
            _ => false,
        };
        let wrong = match self.value.iter().find(|token| !is_part(token)) {
            Some(token) => token.span(),
            None if self.value.is_empty() => self.key.span(),
            None => return Ok(self.value.iter().cloned().collect()),
        };
        Err(self.takes(
            "the path of the crate, such as `crate = my::wakeful`",
            wrong,
        ))
    }

    /// A value of one token.
    fn single<T>(
        &self,
        what: &str,
        read: impl FnOnce(&TokenTree) -> Option<T>,
    ) -> Result<T, Error> {
        let Some(first) = self.value.first() else {
            return Err(self.takes(what, self.key.span()));
        };
        let value = read(first).ok_or_else(|| self.takes(what, first.span()))?;
        match self.value.get(1) {
            None => Ok(value),
            Some(second) => Err(comma_missing(second)),
        }
    }

    fn takes(&self, what: &str, wrong: Span) -> Error {
        Error::new(wrong, format!("`{}` takes {what}", self.key))
    }
}

/// A number as the user wrote it.
struct Number {
    value: u64,
    literal: Literal,
}

impl Number {
    fn one() -> Self {
        Self {
            value: 1,
            literal: Literal::u64_unsuffixed(1),
        }
    }

    fn into_tokens(self) -> TokenStream {
        TokenTree::from(self.literal).into()
    }
}

/// Divides the arguments at their commas.
fn settings(arguments: TokenStream) -> Result<Vec<Setting>, Error> {
    let mut settings = Vec::new();
    let mut tokens = without_invisible_groups(arguments).into_iter();
    while let Some(token) = tokens.next() {
        let TokenTree::Ident(key) = token else {
            return Err(Error::new(
                token.span(),
                "an option begins with its name, such as `workers = 4`",
            ));
        };
        let mut value = Vec::new();
        match tokens.next() {
            Some(equals) if is_punct(&equals, '=') => {
                value.extend(tokens.by_ref().take_while(|token| !is_punct(token, ',')));
                if value.is_empty() {
                    return Err(Error::new(equals.span(), "a value is missing after this"));
                }
            }
            Some(other) if !is_punct(&other, ',') => return Err(comma_missing(&other)),
            Some(_) | None => {}
        }
        settings.push(Setting { key, value });
    }
    Ok(settings)
}

/// The tokens of `stream`, also those that come as a fragment of a `macro_rules!`, for example a `$count`.
fn without_invisible_groups(stream: TokenStream) -> Vec<TokenTree> {
    let mut tokens = Vec::new();
    for token in stream {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                tokens.extend(without_invisible_groups(group.stream()));
            }
            token => tokens.push(token),
        }
    }
    tokens
}

fn comma_missing(before: &TokenTree) -> Error {
    Error::new(before.span(), "a comma is missing before this")
}

fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

/// The value of a literal without a suffix.
fn whole_number(literal: &str) -> Option<u64> {
    let digits = literal.replace('_', "");
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        _ => (digits.as_str(), 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::whole_number;

    #[test]
    fn whole_numbers_are_read_in_every_form_and_nothing_else_is() {
        for (literal, value) in [
            ("0", 0),
            ("1_024", 1024),
            ("0xDEAD_beef", 0xDEAD_BEEF),
            ("0o17", 15),
            ("0b101", 5),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(whole_number(literal), Some(value), "{literal}");
        }
        for literal in [
            "4.0",
            "4usize",
            "1e3",
            "\"4\"",
            "'4'",
            "b'4'",
            "18446744073709551616",
            "0x",
        ] {
            assert_eq!(whole_number(literal), None, "{literal}");
        }
    }
}

//! What the table in `CANCEL_SAFETY.md` says, and which operations there are in the sources of the library.
//!
//! Operations are found by their text: `pub async fn`, and `pub fn … -> impl Future`, of a type, of a module, or of the types
//! to which a macro of the library gives them. Public types that are futures count as operations of *futures*.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What the table says of each operation: the type or module and the name, and the safety.
pub(crate) fn rows() -> BTreeMap<String, String> {
    let text = fs::read_to_string(library().join("CANCEL_SAFETY.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [of, operations, safety, when] = cells[..] else {
            panic!("four cells are expected: {line}");
        };
        assert!(["safe", "in part", "not safe"].contains(&safety), "{line}");
        assert!(!when.is_empty(), "{line}");
        for of in of.split(", ") {
            for operation in operations.split(", ") {
                let name = format!("{}::{}", of.trim_matches('`'), operation.trim_matches('`'));
                let twice = rows.insert(name, safety.to_owned());
                assert!(twice.is_none(), "it has a row already: {line}");
            }
        }
    }
    rows
}

/// Every public async operation of the library, and every public type that is a future.
pub(crate) fn operations() -> BTreeSet<String> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => walk(&path, found),
                path => found.push(path),
            }
        }
    }
    let root = library().join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let files: Vec<_> = paths
        .iter()
        .map(|path| {
            let relative = path.strip_prefix(&root).unwrap();
            let module = relative.iter().next().unwrap().to_str().unwrap();
            let text = fs::read_to_string(path).unwrap();
            let text = text
                .split("#[cfg(all(test, not(loom)))]\nmod tests {")
                .next()
                .unwrap();
            (module.trim_end_matches(".rs").to_owned(), text.to_owned())
        })
        .collect();
    operations_in(&files)
}

/// Those of the files, each with its module.
fn operations_in(files: &[(String, String)]) -> BTreeSet<String> {
    let all: String = files.iter().map(|(_, text)| &**text).collect();
    let mut found = BTreeSet::new();
    for (module, text) in files {
        read_operations(module, text, &all, &mut found);
    }
    // What a macro has it gives to the types for which it is called.
    let (of_macros, mut found): (BTreeSet<_>, BTreeSet<_>) =
        found.into_iter().partition(|name| name.contains("!::"));
    for name in of_macros {
        let (called, operation) = name.split_once("!::").unwrap();
        let call = format!("{called}!(");
        for line in all.lines() {
            if let Some(arguments) = line.strip_prefix(&call) {
                found.insert(format!("{}::{operation}", identifier(arguments)));
            }
        }
    }
    found
}

/// Those in the text of a file of `module`. What is public by name is in a text of `all`.
fn read_operations(module: &str, text: &str, all: &str, found: &mut BTreeSet<String>) {
    let mut of = module.to_owned();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim_end();
        if line.starts_with("impl") && line.ends_with('{') {
            of = implementor(line);
            let is_public = all.contains(&format!("pub struct {of}"));
            if line.contains(" Future for ") && is_public {
                found.insert(format!("futures::{of}"));
            }
        } else if let Some(name) = line.strip_prefix("macro_rules! ") {
            of = format!("{}!", identifier(name));
        } else if line == "}" {
            of = module.to_owned();
        }
        let mut signature = line.trim_start().to_owned();
        if !signature.starts_with("pub fn ") && !signature.starts_with("pub async fn ") {
            continue;
        }
        while !signature.contains('{') {
            signature += lines.next().expect("a signature ends with its body");
        }
        let is_async = signature.starts_with("pub async") || signature.contains("-> impl Future");
        if is_async {
            let (_, name) = signature.split_once("fn ").unwrap();
            found.insert(format!("{of}::{}", identifier(name)));
        }
    }
}

/// The name of the type that a line `impl … {` is about.
fn implementor(line: &str) -> String {
    let after = line.trim_start_matches("impl");
    // Past the parameters, in which brackets may be nested.
    let mut depth = 0;
    let end = after.char_indices().find(|&(at, c)| {
        depth += i32::from(c == '<') - i32::from(c == '>' && !after[..at].ends_with('-'));
        depth == 0
    });
    let (at, first) = end.unwrap();
    let rest = if first == '>' {
        &after[at + 1..]
    } else {
        after
    };
    identifier(rest.split(" for ").last().unwrap().trim())
}

/// The one that `text` begins with.
fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime")
}

#[test]
fn the_reader_of_sources_sees_all_forms() {
    let text = "
impl<T: AsFd> Thing<T> {
    pub async fn one(&self) {}
    pub fn two(
        &self,
    ) -> impl Future<Output = ()> {
    }
    pub fn three(&self) -> u8 {}
    pub(crate) async fn four() {}
}
impl<S: Deref<Target = X>> Other<S> {
    pub fn five<F>(&self) -> impl Future<Output = ()>
    where
        F: Fn(),
    {
}
pub struct Six;
impl<T> Future for Six {
}
struct Seven;
impl Future for Seven {
}
pub async fn eight() {}
// pub async fn nine() {}
macro_rules! some_operations {
    ($Type:ty, $x:expr) => {
        impl $Type {
            pub async fn ten() {}
            pub fn eleven() -> impl Future<Output = io::Result<($Type, u8)>> {
            }
        }
    };
}
pub async fn twelve() {}
";
    let calls = "some_operations!(Thing);\nsome_operations!(Another, 7);\n";
    let found =
        operations_in(&[("net", text), ("io", calls)].map(|(m, t)| (m.to_owned(), t.to_owned())));
    let expected = [
        "Thing::one",
        "Thing::two",
        "Other::five",
        "futures::Six",
        "net::eight",
        "Thing::ten",
        "Thing::eleven",
        "Another::ten",
        "Another::eleven",
        "net::twelve",
    ];
    assert_eq!(found, expected.map(str::to_owned).into());
}

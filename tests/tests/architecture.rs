//! The shape of the library: which module may name which, where `libc` and `unsafe` may be, and what it depends on.
//!
//! Read from the source text, so a violation is found whether or not it is compiled. Test code is exempt: the files that
//! hold only tests and the `#[cfg(test)]` modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the packages are that users depend on.
const LIBRARY: &str = "runtime";
const MACROS: &str = "runtime/macros";

/// The layers, lowest first. A module may name those of lower layers and itself.
const LAYERS: [&[&str]; 5] = [
    &["sys", "util"],
    &["task", "reactor", "timer"],
    &["executor", "blocking"],
    &["io", "time", "signal", "shutdown"],
    &["net", "codec"],
];

/// Edges within a layer: the data structures of `util` serve all, signals arrive through a descriptor, descriptors have
/// deadlines, and the executor owns a blocking pool.
const LEVEL_EDGES: [(&str, &str); 4] = [
    ("sys", "util"),
    ("signal", "io"),
    ("io", "time"),
    ("executor", "blocking"),
];

/// Where `unsafe` may be, beside `sys/`.
const UNSAFE_FILES: [&str; 3] = ["task/raw.rs", "task/waker.rs", "executor/queue.rs"];

/// Files that are test code as a whole.
const TEST_FILES: [&str; 3] = ["tests.rs", "models.rs", "reference.rs"];

#[test]
fn modules_name_only_modules_of_lower_layers() {
    let mut wrong = Vec::new();
    for file in sources().into_iter().filter(|file| file.module != "lib") {
        for (line, target) in file.crate_paths() {
            if target != file.module && !may_name(&file.module, &target) {
                wrong.push(format!(
                    "{}:{line}: `{}` names `{target}`",
                    file.path, file.module
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "edges must point downwards:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_module_has_a_layer() {
    for file in sources().into_iter().filter(|file| file.module != "lib") {
        assert!(
            layer(&file.module).is_some(),
            "{}: give `{}` a place in LAYERS",
            file.path,
            file.module
        );
    }
}

#[test]
fn codec_does_not_know_the_runtime() {
    for file in sources().into_iter().filter(|file| file.module == "codec") {
        let others = file
            .crate_paths()
            .into_iter()
            .filter(|(_, target)| !["codec", "util"].contains(&target.as_str()))
            .collect::<Vec<_>>();
        assert!(others.is_empty(), "{}: {others:?}", file.path);
    }
}

#[test]
fn only_sys_calls_libc() {
    for file in sources().into_iter().filter(|file| file.module != "sys") {
        let line = file.find_word("libc");
        assert!(
            line.is_none(),
            "{}:{}: `libc` outside of sys",
            file.path,
            line.unwrap_or_default()
        );
    }
}

#[test]
fn unsafe_is_only_where_it_is_allowed() {
    for file in sources() {
        let allowed = file.module == "sys" || UNSAFE_FILES.contains(&file.path.as_str());
        for word in ["unsafe", "unsafe_code"] {
            let line = file.find_word(word);
            assert!(
                allowed || line.is_none(),
                "{}:{}: `{word}`",
                file.path,
                line.unwrap_or_default()
            );
        }
    }
}

#[test]
fn unsafe_is_opened_by_expect_with_a_reason_and_never_by_allow() {
    for file in sources() {
        for (number, line) in file.code() {
            let opens = line.contains("(unsafe_code");
            let well = line
                .trim_start()
                .starts_with("#![expect(unsafe_code, reason = \"");
            assert!(!opens || well, "{}:{number}: {line}", file.path);
        }
    }
}

#[test]
fn the_library_depends_on_these_four_crates_its_own_macros_and_no_other() {
    let sections = manifest(LIBRARY);
    let keys = |name: &str| {
        let section = sections.iter().find(|(section, _)| section == name);
        section
            .map(|(_, keys)| keys.iter().map(String::as_str).collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let mut dependencies = keys("dependencies");
    dependencies.sort_unstable();
    assert_eq!(
        dependencies,
        [
            "futures-core",
            "futures-io",
            "libc",
            "pin-project-lite",
            "wakeful-macros"
        ]
    );
    assert_eq!(keys("target.'cfg(loom)'.dependencies"), ["loom"]);
    let others: Vec<_> = sections
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| name.contains("dependencies") && !name.contains("dev-dependencies"))
        .filter(|name| !["dependencies", "target.'cfg(loom)'.dependencies"].contains(name))
        .collect();
    assert!(
        others.is_empty(),
        "dependencies by another door: {others:?}"
    );
}

#[test]
fn the_macros_depend_on_nothing() {
    let sections = manifest(MACROS);
    let (names, keys): (Vec<_>, Vec<_>) = sections
        .iter()
        .filter(|(name, _)| name.contains("dependencies"))
        .map(|(name, keys)| (name.as_str(), keys))
        .unzip();
    assert_eq!(names, ["dependencies"], "dependencies by another door");
    assert!(keys.iter().all(|keys| keys.is_empty()), "{keys:?}");
}

#[test]
fn the_library_has_no_cargo_features() {
    for package in [LIBRARY, MACROS] {
        let sections = manifest(package);
        let features = sections.into_iter().find(|(name, _)| name == "features");
        assert_eq!(
            features, None,
            "{package}: a feature would leak into every other build of a workspace"
        );
    }
}

#[test]
fn the_reader_of_paths_sees_all_forms() {
    let text = "use crate::task::{self, Meta};\nuse crate::{io, sys::{clock, epoll}, util::rng};\n\
                use super::super::net::x;\nuse super::local::y;\n// use crate::doc::z;\n\
                #[cfg(all(test, not(loom)))]\nmod tests {\n    use crate::hidden::x;\n}\nfn f() { crate::reactor::g() }\n";
    let file = Source::new("executor/worker.rs", text);
    let targets = file
        .crate_paths()
        .into_iter()
        .map(|(_, target)| target)
        .collect::<BTreeSet<_>>();
    assert_eq!(
        targets,
        ["task", "io", "sys", "util", "net", "reactor"]
            .map(str::to_owned)
            .into()
    );
}

fn may_name(from: &str, to: &str) -> bool {
    match (layer(from), layer(to)) {
        (Some(upper), Some(lower)) => upper > lower || LEVEL_EDGES.contains(&(from, to)),
        _ => false, // a re-export at the root hides which layer is meant
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// A source file without its comments and tests.
struct Source {
    /// Relative to `src`.
    path: String,
    /// The top module that it belongs to.
    module: String,
    /// How many modules it is below the root.
    depth: usize,
    lines: Vec<(usize, String)>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let parts: Vec<_> = path
            .trim_end_matches(".rs")
            .split('/')
            .filter(|part| *part != "mod")
            .collect();
        let mut lines = Vec::new();
        let mut rest = text.lines().zip(1..).peekable();
        while let Some((line, number)) = rest.next() {
            let is_test = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
            if is_test
                && rest
                    .peek()
                    .is_some_and(|(next, _)| next.contains("mod ") && next.ends_with('{'))
            {
                rest.by_ref().find(|(line, _)| *line == "}");
            } else {
                let code = if line.trim_start().starts_with("//") {
                    ""
                } else {
                    line.split(" // ").next().unwrap_or("")
                };
                lines.push((number, code.to_owned()));
            }
        }
        Self {
            path: path.to_owned(),
            module: parts[0].to_owned(),
            depth: parts.len(),
            lines,
        }
    }

    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines
            .iter()
            .map(|(number, line)| (*number, line.as_str()))
    }

    /// The line of the first occurrence of a whole word.
    fn find_word(&self, word: &str) -> Option<usize> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let has = |line: &str| line.split(|c| !is_part(c)).any(|part| part == word);
        self.code()
            .find(|(_, line)| has(line))
            .map(|(number, _)| number)
    }

    /// Every top module that is named by a path from the root, with its line.
    fn crate_paths(&self) -> Vec<(usize, String)> {
        let text: String = self.code().map(|(_, line)| format!("{line}\n")).collect();
        let to_root = "super::".repeat(self.depth);
        let mut found = Vec::new();
        for root in ["crate::", to_root.as_str()] {
            for (at, _) in text.match_indices(root) {
                let before = text[..at].chars().next_back().unwrap_or(' ');
                if before.is_alphanumeric() || before == '_' || before == ':' || before == '$' {
                    continue;
                }
                let line = self.lines[text[..at].matches('\n').count()].0;
                found.extend(
                    first_names(&text[at + root.len()..])
                        .into_iter()
                        .map(|name| (line, name)),
                );
            }
        }
        found
    }
}

/// The first names of a path, or of each path in a brace list.
fn first_names(path: &str) -> Vec<String> {
    let name = |path: &str| {
        path.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    let Some(list) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&list[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn package(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(directory)
}

fn sources() -> Vec<Source> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory)
            .expect("the library's sources")
            .map(Result::unwrap)
        {
            let path = entry.path();
            match path.is_dir() {
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let root = package(LIBRARY).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let sources: Vec<_> = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !TEST_FILES.iter().any(|file| path.ends_with(file)))
        .map(|path| {
            let relative = path
                .strip_prefix(&root)
                .expect("below the root")
                .to_str()
                .expect("our names are ASCII");
            Source::new(
                relative,
                &fs::read_to_string(path).expect("a source file is text"),
            )
        })
        .collect();
    assert!(sources.len() > 20, "the walk has found the sources");
    sources
}

/// The sections of a package's manifest, each with its keys.
fn manifest(directory: &str) -> Vec<(String, Vec<String>)> {
    let text =
        fs::read_to_string(package(directory).join("Cargo.toml")).expect("the package's manifest");
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(name) = line.strip_prefix('[') {
            sections.push((name.trim_end_matches(']').to_owned(), Vec::new()));
        } else if let (Some((key, _)), Some((_, keys))) =
            (line.split_once(['=', '.']), sections.last_mut())
        {
            keys.push(key.trim().to_owned());
        }
    }
    sections
}

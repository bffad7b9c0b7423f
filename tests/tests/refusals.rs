//! What the compiler says of a wrong use of the attributes: which sentence, and where.
//!
//! The programs in `tests/fixtures/attributes` say it themselves: a comment below a line has a `^` under the character where
//! an error of that line begins, and then how the error reads. They are checked together, as the programs of one package
//! that depends on the library as any other package does. It has an older edition than ours.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_error_is_one_sentence_at_the_place_that_it_is_about() {
    let reported = check(&PROGRAMS);
    for (name, text) in PROGRAMS {
        let mut found = errors_of(name, &reported);
        let mut wrong = Vec::new();
        for expected in marks(text) {
            match found.iter().position(|found| expected.describes(found)) {
                Some(at) => drop(found.swap_remove(at)),
                None => wrong.push(format!("not reported: {expected:?}")),
            }
        }
        wrong.extend(found.iter().map(|error| format!("not expected: {error:?}")));
        assert!(
            wrong.is_empty(),
            "{name}:\n{}\n\n{reported}",
            wrong.join("\n")
        );
    }
}

/// Name and text of each.
const PROGRAMS: [(&str, &str); 5] = [
    ("options", include_str!("../fixtures/attributes/options.rs")),
    (
        "functions",
        include_str!("../fixtures/attributes/functions.rs"),
    ),
    ("bodies", include_str!("../fixtures/attributes/bodies.rs")),
    ("names", include_str!("../fixtures/attributes/names.rs")),
    (
        "accepted",
        include_str!("../fixtures/attributes/accepted.rs"),
    ),
];

/// An error, or the mark that announces it. Line and column begin at 1.
#[derive(Debug)]
struct Problem {
    line: usize,
    column: usize,
    text: String,
}

impl Problem {
    /// A mark may leave out how the text ends.
    fn describes(&self, error: &Self) -> bool {
        (self.line, self.column) == (error.line, error.column) && error.text.starts_with(&self.text)
    }
}

/// The errors that a program announces.
fn marks(text: &str) -> Vec<Problem> {
    let mut marked = 0;
    let mut problems = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let comment = line.trim_start().strip_prefix("//").map(str::trim_start);
        match comment.and_then(|comment| comment.strip_prefix("^ ")) {
            Some(text) => problems.push(Problem {
                line: marked,
                column: line.find('^').expect("just seen") + 1,
                text: text.to_owned(),
            }),
            None => marked = number,
        }
    }
    problems
}

/// The errors in one program, from lines such as `src/bin/names.rs:4:20: error[E0425]: …`. A warning is one too.
///
/// What the compiler words itself is known by its number.
fn errors_of(program: &str, reported: &str) -> Vec<Problem> {
    let place = format!("src/bin/{program}.rs:");
    let lines = reported
        .lines()
        .filter_map(|line| line.strip_prefix(&place));
    lines
        .map(|line| {
            let mut parts = line.splitn(3, ':');
            let mut part = || parts.next().expect("line, column, text");
            let (line, column) = (part(), part());
            let text = part().trim_start();
            Problem {
                line: line.parse().expect("a line"),
                column: column.parse().expect("a column"),
                text: text.strip_prefix("error: ").unwrap_or(text).to_owned(),
            }
        })
        .collect()
}

/// Lets Cargo check a package of these programs, and returns what it reports, one line for each problem.
fn check(programs: &[(&str, &str)]) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refusals");
    fs::create_dir_all(package.join("src/bin")).unwrap();
    let manifest = format!(
        "[package]\nname = \"refusals\"\nedition = \"2021\"\n\n[workspace]\n\n[dependencies]\nwakeful.path = {:?}\n",
        workspace.join("runtime")
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // The versions that this workspace has, so that nothing need be fetched.
    fs::copy(workspace.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    for (name, text) in programs {
        fs::write(
            package.join("src/bin").join(name).with_extension("rs"),
            text,
        )
        .unwrap();
    }

    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["check", "--bins", "--keep-going", "--offline"])
        .args([
            "--message-format=short",
            "--color=never",
            "--target-dir=target",
        ])
        // Flags of this build, such as those of a sanitizer, are not for the macros.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(&package)
        .output()
        .expect("cargo starts");
    let reported = String::from_utf8(output.stderr).expect("text");
    // Otherwise something went wrong before any program was looked at.
    assert!(
        reported.contains("could not compile `refusals`"),
        "{reported}"
    );
    reported
}

//! The rules that the compiler cannot hold: which crate may know what, where the clock is read, what a
//! file may be called, what a document may promise. `cargo test -p xtask` and `cargo xtask check` run them.
//!
//! Every rule is a function over text with a test of its own that shows it firing on a bad sample; nothing
//! here changes a file, but for `record_migrations`, which is a command of its own. Read next: `sources`.

mod code;
mod dependencies;
mod documents;
mod migrations;
mod rejections;
mod sources;

pub(crate) use migrations::record as record_migrations;

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use crate::repo::{self, SourceFile};

/// One breach of one rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// From 1; 0 when the rule is about the file as a whole.
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Finding { path: path.to_string(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// A Rust file, cut up once for all rules.
pub(crate) struct RustFile<'a> {
    path: &'a str,
    text: &'a str,
    /// Without comments and strings.
    code: String,
    /// `code` without its test items; empty when the whole file is there for tests.
    product: String,
}

/// Checks every rule against the checkout at `root`.
pub(crate) fn findings(root: &Path) -> Result<Vec<Finding>, String> {
    let files = repo::files(root).map_err(|error| format!("reading the checkout: {error}"))?;
    let rust = rust_files(&files);
    let mut found = dependencies::check(&dependencies::packages(&repo::metadata(root)?)?);
    for file in &rust {
        found.extend(sources::check(file));
    }
    for file in &files {
        found.extend(sources::unnumbered_work(&file.path, &file.text));
    }
    found.extend(documents::architecture_paths(&files));
    found.extend(rejections::untested(&rust, &files));
    found.extend(migrations::changed(&files));
    Ok(found)
}

/// Prints the findings and says how many there are.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let found = findings(root)?;
    for finding in &found {
        eprintln!("tidy: {finding}");
    }
    if found.is_empty() { Ok(()) } else { Err(format!("tidy: {} findings", found.len())) }
}

fn rust_files(files: &[SourceFile]) -> Vec<RustFile<'_>> {
    let mut rust = Vec::new();
    let mut for_tests = HashSet::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let code = code::code_only(&file.text);
        let parted = code::part(&code);
        let folder = module_folder(&file.path);
        for module in &parted.test_modules {
            for_tests.insert(format!("{folder}/{module}.rs"));
            for_tests.insert(format!("{folder}/{module}/mod.rs"));
        }
        rust.push(RustFile { path: &file.path, text: &file.text, code, product: parted.product });
    }
    for file in &mut rust {
        if for_tests.contains(file.path) || is_test_path(file.path) {
            file.product.clear();
        }
    }
    rust
}

/// The folder in which the modules named by the file at `path` lie.
fn module_folder(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_string(),
        _ => path.trim_end_matches(".rs").to_string(),
    }
}

fn is_test_path(path: &str) -> bool {
    path.contains("/tests/") || path.contains("/benches/") || path.ends_with("/tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let found = findings(&repo::root()).expect("the checkout can be read");
        let list: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "{}", list.join("\n"));
    }

    #[test]
    fn files_that_exist_for_tests_hold_no_product_code() {
        let file = |path: &str, text: &str| SourceFile { path: path.to_string(), text: text.to_string() };
        let files = [
            file("crates/core/src/lib.rs", "fn product() {}\n#[cfg(test)]\nmod model;\n"),
            file("crates/core/src/model.rs", "fn model() {}\n"),
            file("crates/core/src/wallet.rs", "#[cfg(test)]\nmod script;\nfn wallet() {}\n"),
            file("crates/core/src/wallet/script.rs", "fn script() {}\n"),
            file("crates/core/tests/laws.rs", "fn laws() {}\n"),
        ];
        let rust = rust_files(&files);
        let product: Vec<&str> =
            rust.iter().filter(|file| !file.product.trim().is_empty()).map(|file| file.path).collect();
        assert_eq!(product, ["crates/core/src/lib.rs", "crates/core/src/wallet.rs"]);
    }
}

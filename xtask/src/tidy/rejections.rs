//! The rule about rejections: every code that a caller may get is got by at least one test.
//!
//! The codes are the string literals of `code()` in core's file of rejections; a test is any test item,
//! test file or snapshot of the workspace that names the code.

use super::code::part;
use super::{Finding, RustFile, code};
use crate::repo::SourceFile;

/// Where core lists every business "no".
const REJECTIONS: &str = "crates/core/src/rejection.rs";

/// Codes that no test names.
pub(super) fn untested(rust: &[RustFile<'_>], files: &[SourceFile]) -> Vec<Finding> {
    let Some(rejections) = rust.iter().find(|file| file.path == REJECTIONS) else {
        return vec![Finding::new(REJECTIONS, 0, "is missing: it lists every rejection with its code")];
    };
    let codes = codes(rejections.text);
    if codes.is_empty() {
        return vec![Finding::new(REJECTIONS, 0, "has no `fn code` whose arms are string literals")];
    }
    let mut tests: Vec<String> = rust.iter().map(test_text).collect();
    tests.extend(files.iter().filter(|file| file.path.ends_with(".snap")).map(|file| file.text.clone()));
    let message = |code: &str| format!("no test gets the rejection `{code}`");
    codes
        .into_iter()
        .filter(|(code, _)| !tests.iter().any(|text| !code::lines_with_word(text, code).is_empty()))
        .map(|(code, line)| Finding::new(REJECTIONS, line, message(&code)))
        .collect()
}

/// Every string literal in the body of `fn code`, with its line.
fn codes(text: &str) -> Vec<(String, usize)> {
    let code = super::code::code_only(text);
    let mut found = Vec::new();
    let mut closing = None;
    for (at, (line, bare)) in text.lines().zip(code.lines()).enumerate() {
        match &closing {
            None if bare.contains("fn code(") => {
                closing = Some(format!("{}}}", &bare[..bare.len() - bare.trim_start().len()]));
            }
            None => {}
            Some(end) if bare.trim_end() == end => break,
            Some(_) => {
                let line = line.split("//").next().unwrap_or_default();
                let literals = line.split('"').skip(1).step_by(2);
                found.extend(literals.map(|literal| (literal.to_string(), at + 1)));
            }
        }
    }
    found
}

/// The lines of a file that belong to tests: all of a test file, the test items of another.
fn test_text(file: &RustFile<'_>) -> String {
    if file.product.is_empty() {
        return file.text.to_string();
    }
    let product = part(&file.code).product;
    let only_in_tests = |(line, kept): (&'_ str, &'_ str)| {
        if kept.trim().is_empty() { line.to_string() } else { String::new() }
    };
    let lines: Vec<String> = file
        .text
        .lines()
        .zip(product.lines())
        .map(only_in_tests)
        // A comment is blank in the product too, and naming a code there proves nothing.
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::rust_files;
    use super::*;

    const LIST: &str = "impl Rejection {\n    pub fn code(&self) -> &'static str {\n        match self {\n            \
                        Rejection::A => \"insufficient_credits\",\n            Rejection::B => \"hold_expired\",\n        \
                        }\n    }\n    fn other() -> &'static str {\n        \"not_a_code\"\n    }\n}\n";

    fn check(list: &str, test: &str) -> Vec<String> {
        let file = |path: &str, text: &str| SourceFile { path: path.to_string(), text: text.to_string() };
        let files = [file(REJECTIONS, list), file("crates/core/src/decide.rs", test)];
        untested(&rust_files(&files), &files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_code_that_no_test_gets_is_found() {
        let test = "// hold_expired\nfn product() { \"hold_expired\"; }\n#[cfg(test)]\nmod tests {\n    fn a() { \"insufficient_credits\"; }\n}\n";
        let found = check(LIST, test);
        assert_eq!(found, ["crates/core/src/rejection.rs:5: no test gets the rejection `hold_expired`"]);
    }

    #[test]
    fn codes_that_tests_get_are_fine() {
        let test = "#[cfg(test)]\nmod tests {\n    const S: &str = \"\n    spend 1 -> insufficient_credits (1 < 2)\n    capture -> hold_expired\n\";\n}\n";
        assert!(check(LIST, test).is_empty());
    }

    #[test]
    fn a_list_that_cannot_be_read_is_found_instead_of_passing() {
        assert_eq!(check("fn nothing() {}\n", "").len(), 1);
        assert_eq!(untested(&[], &[]).len(), 1);
    }
}

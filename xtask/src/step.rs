//! One step of a longer command: a program run in the root of the checkout, its output shown as it
//! comes and its summary read, so that a closing line can say how much passed and failed.
//!
//! Whatever was skipped or ignored counts as failed: it proved nothing.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How much passed and how much did not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// A step that is one proof by itself.
    pub(crate) fn of(result: &Result<(), String>) -> Self {
        Tally { passed: u64::from(result.is_ok()), failed: u64::from(result.is_err()) }
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Prints what comes next.
pub(crate) fn announce(title: &str) {
    eprintln!("\n=== {title}");
}

/// Runs a program as a step that is one proof by itself.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let status = command.stdin(Stdio::null()).status().map_err(|error| failed_to_start(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", shown(command))) }
}

/// Runs a program that runs tests, and counts them by what it prints.
pub(crate) fn run_tests(command: &mut Command) -> (Tally, Result<String, String>) {
    let started = Instant::now();
    let (success, output) = match run_and_show(command) {
        Ok(result) => result,
        Err(error) => return (Tally { passed: 0, failed: 1 }, Err(error)),
    };
    let mut tally = tally_of(&output);
    // A build that broke, or a run that was cut off, has no summary that says so.
    if !success && tally.failed == 0 {
        tally.failed = 1;
    }
    let seconds = started.elapsed().as_secs();
    eprintln!("{}: {} passed, {} failed in {seconds} s", shown(command), tally.passed, tally.failed);
    if tally.failed == 0 { (tally, Ok(output)) } else { (tally, Err(format!("{} failed", shown(command)))) }
}

/// Runs a program, shows what it prints as it comes, and answers all of it.
fn run_and_show(command: &mut Command) -> Result<(bool, String), String> {
    let mut child = command
        // Colours would stand between a summary and its numbers.
        .env("CARGO_TERM_COLOR", "never")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed_to_start(command, &error))?;
    let errors = child.stderr.take().expect("piped above");
    let output = child.stdout.take().expect("piped above");
    let errors = std::thread::spawn(move || show(errors, |line| eprintln!("{line}")));
    let mut all = show(output, |line| println!("{line}"));
    all.push_str(&errors.join().expect("showing lines does not panic"));
    let status = child.wait().map_err(|error| format!("{}: {error}", shown(command)))?;
    Ok((status.success(), all))
}

fn show(from: impl Read, print: fn(&str)) -> String {
    let mut all = String::new();
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        print(&line);
        all.push_str(&line);
        all.push('\n');
    }
    all
}

/// Adds up the summaries of cargo's own test runner and of nextest.
fn tally_of(output: &str) -> Tally {
    let of_nextest = |line: &str| {
        let rest = line.trim_start().strip_prefix("Summary [")?;
        let counts = rest.split_once("tests run: ").or_else(|| rest.split_once("test run: "))?.1;
        Some(counts.to_string())
    };
    let of_cargo = |line: &str| line.trim_start().strip_prefix("test result: ").map(str::to_string);
    // Nextest shows what a failed test printed, the summary of its own one test among it: that one is counted already.
    let mut summaries: Vec<String> = output.lines().filter_map(of_nextest).collect();
    if summaries.is_empty() {
        summaries = output.lines().filter_map(of_cargo).collect();
    }
    let mut tally = Tally::default();
    for summary in summaries {
        for part in summary.split([';', ',', '.', '(']) {
            let mut words = part.split_whitespace();
            let (count, what) = match (words.next(), words.next()) {
                // `ok. 3 passed` splits at the full stop, so every part begins with its number.
                (Some(count), Some(what)) => (count.parse::<u64>(), what),
                _ => continue,
            };
            match (count, what) {
                (Ok(count), "passed") => tally.passed += count,
                // Nextest counts a test that hung as `timed out`; skipped and ignored ones proved nothing.
                (Ok(count), "failed" | "timed" | "exec" | "skipped" | "ignored") => tally.failed += count,
                _ => {}
            }
        }
    }
    tally
}

fn shown(command: &Command) -> String {
    let name =
        |text: &std::ffi::OsStr| text.to_string_lossy().rsplit('/').next().unwrap_or_default().to_string();
    let mut words = vec![name(command.get_program())];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

fn failed_to_start(command: &Command, error: &std::io::Error) -> String {
    format!("{} cannot be started: {error}", shown(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_cargo_test_add_up() {
        let output = "test a ... ok\ntest result: ok. 26 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.26s\n\
                      test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(tally_of(output), Tally { passed: 31, failed: 3 });
    }

    #[test]
    fn summaries_of_nextest_add_up_and_what_was_skipped_failed() {
        let output =
            "     Summary [   0.012s] 40 tests run: 36 passed (2 slow), 3 failed, 1 timed out, 2 skipped\n";
        assert_eq!(tally_of(output), Tally { passed: 36, failed: 6 });
        let output = "     Summary [   0.012s] 1 test run: 1 passed, 0 skipped\n";
        assert_eq!(tally_of(output), Tally { passed: 1, failed: 0 });
        let output = "     Summary [   0.012s] 2/5 tests run: 1 passed, 1 failed, 3 skipped\n";
        assert_eq!(tally_of(output), Tally { passed: 1, failed: 4 });
    }

    #[test]
    fn a_failed_test_that_nextest_shows_twice_counts_once() {
        let shown = "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 51 filtered out\n";
        let summary = "     Summary [   0.012s] 5 tests run: 4 passed, 1 failed, 0 skipped\n";
        let output = format!("{shown}{summary}{shown}");
        assert_eq!(tally_of(&output), Tally { passed: 4, failed: 1 });
    }

    #[test]
    fn a_run_that_fails_without_a_summary_counts_as_one_failure() {
        let (tally, result) = run_tests(Command::new("sh").args(["-c", "echo broken build >&2; exit 101"]));
        assert_eq!(tally, Tally { passed: 0, failed: 1 });
        assert!(result.is_err());
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure_that_names_it() {
        let told = run(&mut Command::new("/nowhere/a-program")).expect_err("it is not there");
        assert!(told.starts_with("a-program cannot be started"), "{told}");
    }
}

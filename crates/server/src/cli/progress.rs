//! How long work looks in a terminal: a progress bar on standard error, nothing at all where nobody watches.
//!
//! Standard output is for answers and never sees any of this.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Redraws per second: a bar over fast work costs more in drawing than in counting.
const REDRAWS: u8 = 10;

/// Work of a known number of steps.
#[derive(Clone)]
pub struct Steps(ProgressBar);

/// A bar named `what` over `total` steps; 0 when the total becomes known later.
pub fn bar(what: &'static str, total: u64) -> Steps {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(REDRAWS));
    let shape = "{prefix:<10} [{bar:30}] {human_pos}/{human_len}, {eta} left  {msg}";
    let style = ProgressStyle::with_template(shape).expect("the template is well formed");
    bar.set_style(style.progress_chars("=> "));
    bar.set_prefix(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    Steps(bar)
}

impl Steps {
    /// No bar, whoever watches.
    pub fn hidden() -> Steps {
        Steps(ProgressBar::hidden())
    }

    /// Whether somebody watches a terminal.
    pub fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// So many of so many are done.
    pub fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// So many are done; `message` is asked for where somebody watches.
    pub fn advance(&self, done: u64, message: impl FnOnce() -> String) {
        if !self.0.is_hidden() {
            self.0.set_position(done);
            self.0.set_message(message());
        }
    }

    /// The bar goes; what it told is told by the answer.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }

    /// Prints a line to standard error without breaking the bar.
    pub fn line(&self, line: &str) {
        self.0.suspend(|| eprintln!("{line}"));
    }
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as milliseconds with one decimal, rounded to the nearest.
pub fn milliseconds(micros: u64) -> String {
    let tenths = micros.saturating_add(50) / 100;
    format!("{}.{} ms", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn microseconds_are_rounded_to_tenths_of_milliseconds() {
        assert_eq!([0, 49, 50, 12_345].map(milliseconds), ["0.0 ms", "0.0 ms", "0.1 ms", "12.3 ms"]);
    }
}

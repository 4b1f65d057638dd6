//! `cargo xtask`: everything about this repository that is more than one line of shell.
#![allow(
    clippy::disallowed_methods,
    reason = "xtask measures and waits in real time; it never counts credits"
)]
#![allow(clippy::float_arithmetic, reason = "medians and ratios of measurements, never amounts")]

mod load;
mod repo;
mod tidy;

fn main() {
    if std::env::args().any(|a| a == "--record-migrations") {
        tidy::record_migrations(&repo::root()).expect("x");
    }
    tidy::run(&repo::root()).expect("tidy");
}

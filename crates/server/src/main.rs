//! The program `purser`: parses arguments and runs one command. Read next: `cli/mod.rs`.

use std::process::ExitCode;

use clap::Parser;
use purser_server::cli::{self, Arguments};

/// Requests allocate in small pieces on several threads; this allocator is made for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("purser: {error}");
            ExitCode::FAILURE
        }
    }
}

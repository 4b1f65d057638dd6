//! The API over HTTP in process: a real listener, a temporary SQLite database, a clock that the test owns.
//!
//! One file for each concern; `server.rs` is what they share. A test says in its name what must hold.
#![allow(clippy::disallowed_methods, reason = "how long something takes is what these tests measure")]

mod authorization;
mod catalogue;
mod commands;
mod document;
mod limits;
mod movements;
mod operations;
mod problems;
mod reads;
mod server;
mod shapes;
mod streams;

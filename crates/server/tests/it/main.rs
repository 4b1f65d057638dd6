//! The API over HTTP in process: a real listener, a temporary SQLite database, a clock that the test owns.
//!
//! One file for each concern; `server.rs` is what they share. A test says in its name what must hold.

mod authorization;
mod catalogue;
mod commands;
mod document;
mod movements;
mod operations;
mod problems;
mod reads;
mod server;
mod shapes;

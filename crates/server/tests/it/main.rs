//! The API over HTTP in process: a real listener, a temporary database, a clock that the test owns.
//!
//! `PURSER_IT_DATABASE` says on which database (`sqlite`, `postgres` or `mysql`); what several nodes of one database do
//! together is tried on every server in any case (`nodes*.rs`). One file for each concern; `server.rs` is what they share. A test says in its name what must hold.
#![allow(clippy::disallowed_methods, reason = "how long something takes is what these tests measure")]

#[macro_use]
#[path = "../../../store/tests/shared/databases.rs"]
mod databases;
#[path = "../../../store/tests/shared/relay.rs"]
mod relay;

mod authorization;
mod catalogue;
mod catalogue_file;
mod commands;
mod confirm;
mod counters;
mod discounts;
mod document;
mod estimates;
mod events;
mod explain;
mod gate;
mod limits;
mod movements;
mod nodes;
mod nodes_clocks;
mod nodes_network;
mod operations;
mod problems;
mod quotes;
mod reads;
mod refusals;
mod rehearsal;
mod server;
mod shapes;
mod streams;
mod usage_events;

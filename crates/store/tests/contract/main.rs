//! The contract of the store, as one suite: what the engine and every read may rely on, on every database.
//!
//! A test that is about any database takes its kind, and `on_every_database!` at the end of its file makes one test of it for
//! each. `home.rs` makes the databases, `world.rs` a small ledger to put in.

#[macro_use]
#[path = "../shared/databases.rs"]
mod databases;
#[path = "../shared/relay.rs"]
mod relay;

mod answers;
mod counters;
mod file;
mod history;
mod home;
mod ledger;
mod lifecycle;
mod literals;
mod quotes;
mod recovery;
mod server_connections;
mod server_mysql;
mod server_plans;
mod server_schema;
mod server_slots;
mod server_writers;
mod tables;
mod usage;
mod usage_events;
mod world;

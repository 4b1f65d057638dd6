//! The program on real servers: roles, poolers, migrations, upgrades. Needs what `cargo xtask services` starts.
//!
//! Each test has a database of its own, which goes with it. A system without its server is a failure, never a skip.

#[path = "../crash/client.rs"]
mod client;
mod database;
mod flow;
mod migrations;
mod pooler;
mod program;
mod roles;
mod upgrade;

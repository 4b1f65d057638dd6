//! The parts of the simulator.
//!
//! `run.rs` is the scheduler: one step at a time, chosen by the seed. `client.rs` makes requests, `oracle.rs` predicts
//! what becomes of them by the independent model, `node.rs` is the funnel on its database with everything that can
//! befall it, `check.rs` compares. `engine.rs` and `nodes.rs` test the threads around the funnel, on the `house.rs` they
//! share. Nothing here reads a clock or a random source.

mod catalogue;
mod check;
mod client;
mod engine;
mod house;
pub mod met;
mod moves;
mod node;
mod nodes;
mod oracle;
mod rng;
pub mod run;
mod settle;

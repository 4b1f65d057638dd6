//! The contract of the store, as one suite: what the engine and every read may rely on.

mod answers;
mod history;
mod ledger;
mod lifecycle;
mod recovery;
mod tables;
mod world;

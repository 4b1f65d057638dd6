//! Calls to other servers: the only crate that makes any.
//!
//! For now that is another Purser, for `purser replay` and the demo: [`http`] is the connection, [`purser`] the calls.
//! It decides nothing about credits, and what it is told by a server it believes no further than its type.
//! Start with `purser.rs`.

pub mod http;
pub mod purser;

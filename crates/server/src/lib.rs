//! The server's parts as a library, so that tests and the demo run them in their own process.
//!
//! `http` is the API, `config` the settings, `admin` the local door for the command line while a server runs, `cli` the
//! commands. Nothing here decides about credits: that is `purser_app` and below. Start with `http/router.rs`.

pub mod admin;
pub mod cli;
pub mod config;
pub mod http;
pub mod logging;

//! Purser's use cases: who may do what, and how a request becomes a command, a transaction and an answer.
//!
//! Movements of credits all take one way: a use case parses and authorises, the [`engine`] queues the command, its
//! writer loads state, lets `purser_core::decide` decide, records and commits, and the receipt comes back. This crate
//! knows no HTTP and no SQL. Start with `usecase/debit.rs`, then `engine/`.

pub mod ask;
pub mod caller;
pub mod clock;
pub mod error;
pub mod usecase;
pub mod view;

pub mod boot;

use crate::boot::{BootError, Settings};
use crate::caller::Caller;
use crate::error::AppError;
use purser_core::Timestamp;
use purser_core::catalogue::Catalogue;
use std::sync::Arc;

/// A running node. Cheap to clone.
#[derive(Clone)]
pub struct App {}

/// Whether the node can take work, and what is wrong when it cannot.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Whether commands are accepted.
    pub ready: bool,
    /// One line for each thing checked: name, and what is wrong with it (none when fine).
    pub checks: Vec<(&'static str, Option<String>)>,
}

impl App {
    /// Opens the database (making and migrating it where needed) and starts the engine.
    pub async fn open(_settings: Settings) -> Result<App, BootError> {
        todo!()
    }

    /// Who holds this bearer token.
    pub async fn authenticate(&self, _bearer: &str) -> Result<Caller, AppError> {
        todo!()
    }

    /// The catalogue in force.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        todo!()
    }

    /// The time, as the service sees it.
    pub fn now(&self) -> Timestamp {
        todo!()
    }

    /// Whether the node can take work.
    pub async fn readiness(&self) -> Readiness {
        todo!()
    }

    /// Finishes what was accepted, refuses what is new, writes what is in memory only, closes the database.
    pub async fn shutdown(&self) {
        todo!()
    }
}

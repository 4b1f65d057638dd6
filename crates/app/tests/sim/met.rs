//! What the seeds have met: a simulator proves nothing about what never happens in it.

use crate::databases::Kind;
use std::collections::BTreeMap;

/// How often each event happened.
#[derive(Default, Debug)]
pub struct Met {
    events: BTreeMap<String, u64>,
}

impl Met {
    /// It happened.
    pub fn note(&mut self, event: impl Into<String>) {
        *self.events.entry(event.into()).or_default() += 1;
    }

    /// How often it happened.
    pub fn count(&self, event: &str) -> u64 {
        self.events.get(event).copied().unwrap_or(0)
    }

    /// Adds what another seed met.
    pub fn add(&mut self, other: &Met) {
        for (event, count) in &other.events {
            *self.events.entry(event.clone()).or_default() += count;
        }
    }

    /// One line for reports.
    pub fn figure(&self, seeds: u64) -> String {
        let sum = |prefix: &str| -> u64 {
            self.events.iter().filter(|(event, _)| event.starts_with(prefix)).map(|(_, count)| count).sum()
        };
        let (requests, crashes, faults) = (sum("request"), sum("crash: "), sum("fault "));
        format!("figure: simulation seeds={seeds} requests={requests} crashes={crashes} faults={faults}")
    }
}

/// Every event that fifty seeds have to meet on this database.
pub fn required(kind: Kind) -> impl Iterator<Item = &'static str> {
    let of_kind = if kind.is_server() { ON_SERVERS } else { ON_FILES };
    EVERYWHERE.iter().chain(of_kind).copied()
}

const ON_FILES: &[&str] =
    &["crash: the files as they lay on the disk", "crash: a torn end of the log", "recovered entries"];

const ON_SERVERS: &[&str] =
    &["the connection is cut", "two nodes", "another node", "fault Lost, network", "fault After, network"];

const EVERYWHERE: &[&str] = &[
    "crash: the process ends",
    "answers lost on the way",
    "restart: clean",
    "restart: with another wall clock",
    "fault Before",
    "fault After",
    "fault Lost",
    "fault Full",
    "fault Before, cold",
    "fault After, cold",
    "fault Lost, cold",
    "fault Full, cold",
    "armed, but nothing to commit",
    "answer looked up",
    "clock: small step back",
    "clock: small step forward",
    "clock: jump back",
    "clock: jump forward",
    "clock: time of a wallet ahead of the clock",
    "clock: prune while unsafe",
    "cold: price",
    "cold: standing",
    "cold: action off",
    "cold: key revoked",
    "tidy",
    "fold",
    "prune",
    "verify",
    "replayed",
    "replayed within a batch",
    "event replayed",
    "event twice in a batch",
    "sent again after a fault",
    "delivered late",
    "more due than one command books",
    "unavailable clock_unsafe",
    "unavailable deadline_exceeded",
    "unauthenticated",
    "done grant",
    "done revoke",
    "done debit",
    "done refund",
    "done hold",
    "done extend",
    "done capture",
    "done release",
    "done transfer",
    "done freeze",
    "done thaw",
    "done reverse",
    "done reinstate",
    "done sweep",
    "debt",
    "refused amount_not_positive",
    "refused time_invalid",
    "refused usage_invalid",
    "refused unit_mismatch",
    "refused same_wallet",
    "refused idempotency_conflict",
    "refused action_not_found",
    "refused wallet_not_found",
    "refused hold_not_found",
    "refused debit_not_found",
    "refused grant_not_found",
    "refused cause_not_found",
    "refused tenant_suspended",
    "refused spending_frozen",
    "refused tenant_closed",
    "refused hold_expired",
    "refused hold_closed",
    "refused capture_exceeds_hold",
    "refused hold_life_exceeded",
    "refused refund_exceeds_debit",
    "refused revoke_exceeds_unspent",
    "refused cause_repeated",
    "refused insufficient_credits",
    "refused quote_invalid",
    "refused quote_mismatch",
    "refused quote_used",
    "refused quote_expired",
    "refused confirmation_required",
    "refused limit_reached",
    "told of a share of a limit",
];

//! All that `doctor` wants to know of a server database, in checks that each stand alone.

use super::durability::Durability;
use super::version;
use crate::dialect::Dialect;
use crate::driver::postgres::PREPARED_OFF;
use crate::driver::{Link, Pooling, Session, Target, pooling, values};
use crate::error::StoreError;
use crate::hot::rows::{int, number, text};
use crate::hot::server::database_now;
use crate::migrate::{schema_found, schema_known};
use crate::rights::{Held, Right};
use crate::sqlite;
use purser_core::Timestamp;
use purser_core::time::SECOND;
use std::fmt::Display;
use std::path::Path;

const LEASED: &str = "SELECT COUNT(*) FROM slot WHERE slot > 0 AND leased_until >= ?1";
const FINGERPRINT: &str = "SELECT value FROM meta WHERE name = 'secret_fingerprint'";
/// Enabled for ordinary work: a trigger may be there and switched off.
const POSTGRES_TRIGGERS: &str = "
        SELECT CAST(tgname AS TEXT) FROM pg_catalog.pg_trigger
         WHERE tgrelid IN (to_regclass('entry'), to_regclass('entry_text'), to_regclass('audit'))
           AND tgenabled IN ('O', 'A')";
const MYSQL_TRIGGERS: &str =
    "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()";

/// How far the clocks may be apart before a node refuses to write, in microseconds (design: a node more than 5 s off).
const APART_MAX: i64 = 5 * SECOND;
/// Slots that writers may lease.
const SLOTS: i64 = 63;

const SQLITE_TRIGGERS: &str = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";

/// The triggers of migration 2.
const POSTGRES_EXPECTED: [&str; 5] = [
    "entry_is_append_only",
    "entry_is_not_truncated",
    "audit_is_append_only",
    "audit_is_not_truncated",
    "entry_text_is_not_updated",
];
/// On the embedded database too.
const MYSQL_EXPECTED: [&str; 5] = [
    "entry_is_not_updated",
    "entry_is_not_deleted",
    "audit_is_not_updated",
    "audit_is_not_deleted",
    "entry_text_is_not_updated",
];

/// How something was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It works, and could be safer or faster.
    Warning,
    /// It does not work, or loses what it acknowledges.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What it is.
    pub what: &'static str,
    /// How it was found.
    pub verdict: Verdict,
    /// What was found, and what to do where something is wrong.
    pub detail: String,
}

/// What was found of a server database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspection {
    /// One line for each thing looked at.
    pub checks: Vec<Check>,
    /// The fingerprint of the secret key it was last served with.
    pub secret_fingerprint: Option<u64>,
}

/// How one thing was found, and what is to be said of it.
type Looked = Result<(Verdict, String), StoreError>;

/// Looks at a server database as its runtime user sees it, and as its owner where that user is known. Changes nothing, leases
/// nothing. `wall` is the clock of this machine.
pub fn inspect(target: &Target, owner: Option<&Target>, wall: impl Fn() -> Timestamp) -> Inspection {
    let mut inspection = Inspection { checks: Vec::new(), secret_fingerprint: None };
    let link = match unprepared(target) {
        Ok(link) => link,
        Err(error) => {
            inspection.checks.push(wrong("database", error));
            return inspection;
        }
    };
    let session = link.session();
    let looked = [
        ("version", looked_at_version(session)),
        ("durability", looked_at_durability(session)),
        ("pooling", looked_at_pooling(target)),
        ("clock", looked_at_clock(session, wall)),
        ("schema", looked_at_schema(session)),
    ];
    inspection.add(looked);
    // What follows is about tables.
    if inspection.checks.last().is_some_and(|schema| schema.verdict != Verdict::Fine) {
        return inspection;
    }
    let looked = [
        ("rights", looked_at_rights(session)),
        ("history", looked_at_history(session)),
        ("triggers", looked_at_triggers(session, owner)),
        ("writers", looked_at_slots(session)),
    ];
    inspection.add(looked);
    // A user that may not even read it was told so above.
    inspection.secret_fingerprint = session.first(FINGERPRINT, &[], |row| number(row, 0)).unwrap_or_default();
    inspection
}

/// Looks at the triggers of an embedded database, where nothing else keeps a hand from history.
///
/// # Errors
/// The file cannot be read.
pub fn inspect_file(path: &Path) -> Result<Check, StoreError> {
    let connection = sqlite::open_for_reading(path)?;
    let looked = looked_at_triggers(Session::Sqlite(&connection), None);
    looked.map(|(verdict, detail)| Check { what: "triggers", verdict, detail })
}

impl Inspection {
    fn add<const N: usize>(&mut self, looked: [(&'static str, Looked); N]) {
        self.checks.extend(looked.into_iter().map(|(what, looked)| match looked {
            Ok((verdict, detail)) => Check { what, verdict, detail },
            Err(error) => wrong(what, error),
        }));
    }
}

/// A connection that asks nothing that a pooler could lose.
fn unprepared(target: &Target) -> Result<Link, StoreError> {
    Link::connect(&Target { keep_prepared: false, ..target.clone() })
}

fn wrong(what: &'static str, detail: impl Display) -> Check {
    Check { what, verdict: Verdict::Wrong, detail: detail.to_string() }
}

fn looked_at_version(session: Session<'_>) -> Looked {
    let version = version(session)?;
    if let Some(what) = version.too_old() {
        return Ok((Verdict::Wrong, what));
    }
    let said = format!("{} {}", version.product, version.said);
    Ok(match version.product {
        "MySQL" => (Verdict::Warning, format!("{said}: expected to work, not tested; MariaDB is")),
        _ => (Verdict::Fine, said),
    })
}

fn looked_at_durability(session: Session<'_>) -> Looked {
    let durability = Durability::read(session)?;
    Ok(match durability.what_is_unsafe() {
        Some(what) => (Verdict::Wrong, what),
        None => (Verdict::Fine, durability.shown()),
    })
}

fn looked_at_pooling(target: &Target) -> Looked {
    Ok(match (pooling(target)?, target.keep_prepared) {
        (Pooling::StatementsLost, _) => (Verdict::Wrong, PREPARED_OFF.to_owned()),
        (Pooling::Transaction, true) => {
            (Verdict::Fine, "behind a pooler of transactions that keeps statements prepared".to_owned())
        }
        (Pooling::Transaction, false) => {
            (Verdict::Fine, "behind a pooler of transactions, with prepared=off".to_owned())
        }
        (Pooling::Session, true) => (Verdict::Fine, "none, or of sessions".to_owned()),
        (Pooling::Session, false) if target.dialect == Dialect::Postgres => {
            let slower = "no pooler of transactions was noticed: without prepared=off it would be faster";
            (Verdict::Fine, slower.to_owned())
        }
        (Pooling::Session, false) => (Verdict::Fine, "prepared=off is for PostgreSQL".to_owned()),
    })
}

fn looked_at_clock(session: Session<'_>, wall: impl Fn() -> Timestamp) -> Looked {
    let before = wall().0;
    let now = database_now(session)?;
    let after = wall().0;
    // How far outside of the time in which it was asked.
    let apart = (before - now).max(now - after).max(0);
    let detail = format!("{}.{:03} s off the database's", apart / SECOND, apart % SECOND / 1_000);
    Ok(match apart > APART_MAX {
        true => (Verdict::Wrong, format!("{detail}: set it right, a node so far off refuses to write")),
        false => (Verdict::Fine, detail),
    })
}

fn looked_at_schema(session: Session<'_>) -> Looked {
    let known = schema_known();
    Ok(match schema_found(session)? {
        Some(found) if found == known => (Verdict::Fine, format!("{found}, as this program needs it")),
        Some(found) if found > known => {
            let newer = StoreError::Newer { found, known };
            (Verdict::Wrong, newer.to_string())
        }
        Some(found) => {
            let older = StoreError::Older { found: format!("schema {found}"), known };
            (Verdict::Wrong, older.to_string())
        }
        None => (Verdict::Wrong, StoreError::Older { found: "no schema".to_owned(), known }.to_string()),
    })
}

fn looked_at_rights(session: Session<'_>) -> Looked {
    let held = Held::read(session)?;
    let missing = held.missing();
    if missing.is_empty() {
        return Ok((Verdict::Fine, format!("{} may do all that serving takes", held.role)));
    }
    let missing: Vec<String> = missing
        .iter()
        .map(|(table, rights)| {
            let words: Vec<&str> = rights.iter().map(|right: &Right| right.word()).collect();
            format!("{} on {table}", words.join(", "))
        })
        .collect();
    let detail =
        format!("{} lacks {}: run what `purser migrate --print-roles` prints", held.role, missing.join("; "));
    Ok((Verdict::Wrong, detail))
}

fn looked_at_history(session: Session<'_>) -> Looked {
    let held = Held::read(session)?;
    let dangers = held.dangers();
    Ok(if dangers.is_empty() {
        (Verdict::Fine, format!("{} can change nothing that is recorded", held.role))
    } else {
        let advice = "serve with a role of its own, which `purser migrate --print-roles` makes";
        (Verdict::Warning, format!("{} {}: {advice}", held.role, dangers.join(", ")))
    })
}

fn looked_at_triggers(session: Session<'_>, owner: Option<&Target>) -> Looked {
    let (sql, expected) = match session.dialect() {
        Dialect::Mysql => (MYSQL_TRIGGERS, MYSQL_EXPECTED),
        Dialect::Postgres => (POSTGRES_TRIGGERS, POSTGRES_EXPECTED),
        Dialect::Sqlite => (SQLITE_TRIGGERS, MYSQL_EXPECTED),
    };
    let read = |session: Session<'_>| session.all(sql, &[], |row| text(row, 0));
    let found = if session.dialect() != Dialect::Mysql || Held::read(session)?.sees_triggers {
        read(session)?
    } else if let Some(owner) = owner {
        read(unprepared(owner)?.session())?
    } else {
        let hidden = "this user may not see them; with database_owner_url set they are looked at";
        return Ok((Verdict::Fine, hidden.to_owned()));
    };
    let absent: Vec<&str> =
        expected.into_iter().filter(|name| !found.iter().any(|there| there == name)).collect();
    Ok(if absent.is_empty() {
        (Verdict::Fine, "all that keep history as it is are in place".to_owned())
    } else {
        let only = "a hand at the database could change history, as far as its rights go";
        (Verdict::Warning, format!("absent or switched off: {}; {only}", absent.join(", ")))
    })
}

fn looked_at_slots(session: Session<'_>) -> Looked {
    let now = database_now(session)?;
    let leased = session.one(LEASED, values![now], |row| int(row, 0))?;
    let detail = format!("{leased} of {SLOTS} slots are leased, one by each writer of each node");
    // A start needs one; a rolling upgrade as many as a node has.
    Ok((if leased == SLOTS { Verdict::Wrong } else { Verdict::Fine }, detail))
}

//! What a node does behind the funnel of a server database: it folds, forgets old answers, and watches clock and
//! configuration. On a connection of its own, beside its writers.
//!
//! A fold takes the heads of all slots in one statement, which is one snapshot, and moves everything up to them in one
//! transaction. Within such a cut a wallet's entries have no gap, whichever nodes wrote them: each was written under the lock
//! of the wallet, after the one before was committed. One node folds at a time; another finds the row locked and leaves.

use super::super::load;
use super::super::rows::{int, number, position, small};
use super::lease;
use crate::dialect::{Dialect, statements};
use crate::driver::{Columns, Link, Session, Target, mysql_session, postgres as postgres_driver, values};
use crate::error::StoreError;
use crate::position::{Heads, Position};
use crate::table;
use purser_core::Timestamp;

statements! {
    LOCK_FOLDER = "SELECT position FROM fold WHERE name = 'folder' AND slot = 0 FOR UPDATE SKIP LOCKED";
    HEADS = "SELECT slot, seq FROM slot WHERE slot > 0 AND seq > 0";
    FOLDED = "SELECT position FROM fold WHERE name = 'wallet_history'";
    FOLD_HISTORY = "
        INSERT INTO wallet_history (tenant_no, wallet_id, seq, position)
        SELECT tenant_no, wallet_id, seq, position FROM entry WHERE position > ?1 AND position <= ?2
         ORDER BY tenant_no, wallet_id, seq";
    FOLD_REFERENCES = "
        INSERT INTO entry_reference (tenant_no, reference, wallet_id, seq, position)
        SELECT entry_text.tenant_no, entry_text.reference, entry.wallet_id, entry.seq, entry_text.position
          FROM entry_text JOIN entry ON entry.position = entry_text.position
         WHERE entry_text.position > ?1 AND entry_text.position <= ?2 AND entry_text.reference IS NOT NULL
         ORDER BY entry_text.tenant_no, entry_text.reference, entry.wallet_id, entry.seq";
    SET_FOLDED = "
        INSERT INTO fold (name, slot, position) VALUES ('wallet_history', ?1, ?2)
        ON CONFLICT (name, slot) DO UPDATE SET position = excluded.position";
    OLDEST_ANSWERS = "
        SELECT position, created_at FROM answer WHERE position > ?1 AND position < ?2 ORDER BY position LIMIT ?3";
    DELETE_ANSWERS = "DELETE FROM answer WHERE position > ?1 AND position <= ?2";
    /// Keys are no longer looked up without their lead once the last answer that was copied so is forgotten.
    ALL_HAVE_LEADS = "
        UPDATE meta SET value = 0 WHERE name = 'answers_without_lead' AND value > 0 AND value < ?1";
}

/// Positions folded in one statement.
const PIECE: i64 = 50_000;

/// What a node looks at every moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Observed {
    /// The epoch of the configuration in force.
    pub config_epoch: u64,
    /// The database's own time.
    pub now: Timestamp,
}

/// One node's worker behind the funnel of a server database.
pub struct Keeper {
    target: Target,
    link: Option<Link>,
}

impl Keeper {
    /// A worker that connects when it first has something to do.
    pub(crate) fn new(target: Target) -> Keeper {
        Keeper { target, link: None }
    }

    /// Looks at the configuration's epoch and at the database's clock.
    pub fn observe(&mut self) -> Result<Observed, StoreError> {
        self.with(|session| {
            let config_epoch = crate::table::read_config_epoch(session)?;
            Ok(Observed { config_epoch, now: Timestamp(lease::now(session)?) })
        })
    }

    /// Folds everything that is committed into the indices behind the funnel; how many positions that were. 0 as well while
    /// another node does it.
    pub fn fold(&mut self) -> Result<u64, StoreError> {
        self.in_transaction(|session| {
            if session.first(LOCK_FOLDER, &[], |row| int(row, 0))?.is_none() {
                return Ok(0);
            }
            let (mut heads, mut folded) = (Heads::default(), Heads::default());
            let head = |row: &dyn Columns| Ok(Position::new(small(row, 0)?, number(row, 1)?));
            session.all(HEADS, &[], head)?.into_iter().for_each(|head| heads.set(head));
            session.all(FOLDED, &[], |row| position(row, 0))?.into_iter().for_each(|head| folded.set(head));
            for head in heads.written().filter(|head| !folded.covers(*head)) {
                // In pieces, none of which takes longer than a statement may, however far behind it is; one transaction all
                // the same, as a piece alone is no cut.
                let mut after = folded.of(head.slot()).to_sql();
                while after < head.to_sql() {
                    let until = head.to_sql().min(after + PIECE);
                    session.execute(FOLD_HISTORY, values![after, until])?;
                    session.execute(FOLD_REFERENCES, values![after, until])?;
                    after = until;
                }
                session.execute(SET_FOLDED, values![head.slot(), head.to_sql()])?;
            }
            Ok(heads.total() - folded.total())
        })
    }

    /// Forgets answers given before `before`, at most so many of each writer's; whether some are left.
    pub fn prune_answers(&mut self, before: Timestamp, budget_rows: usize) -> Result<bool, StoreError> {
        self.in_transaction(|session| {
            let head = |row: &dyn Columns| Ok(Position::new(small(row, 0)?, number(row, 1)?));
            let mut left = false;
            // One node is enough, and two would wait for each other.
            if session.first(LOCK_FOLDER, &[], |row| int(row, 0))?.is_none() {
                return Ok(false);
            }
            for head in session.all(HEADS, &[], head)? {
                let start = Position::new(head.slot(), 0).to_sql();
                let oldest = values![start, head.end_of_slot().to_sql(), budget_rows];
                let answers = session.all(OLDEST_ANSWERS, oldest, |row| Ok((int(row, 0)?, int(row, 1)?)))?;
                // In the order they were given, so up to the first that is kept.
                let old = answers.iter().take_while(|(_, created_at)| *created_at < before.0);
                if let Some((last, _)) = old.last() {
                    session.execute(DELETE_ANSWERS, values![start, *last])?;
                    left |= answers.len() == budget_rows
                        && answers.last().is_some_and(|(place, _)| place == last);
                }
            }
            if !left {
                session.execute(ALL_HAVE_LEADS, values![before.0])?;
            }
            Ok(left)
        })
    }

    /// Forgets used quotes whose time was over before `before`, at most so many; whether some are left.
    pub fn prune_quotes(&mut self, before: Timestamp, budget_rows: usize) -> Result<bool, StoreError> {
        self.prune(|session| load::prune_quotes(session, before, budget_rows))
    }

    /// Forgets counts of refusals of quarters that began before `before`, at most so many; whether some are left.
    pub fn prune_refusals(&mut self, before: Timestamp, budget_rows: usize) -> Result<bool, StoreError> {
        self.prune(|session| table::prune_refusals(session, before, budget_rows))
    }

    /// Forgets in a transaction of its own, unless another node does.
    fn prune(
        &mut self,
        forget: impl FnOnce(Session<'_>) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        self.in_transaction(|session| {
            // One node is enough, and two would wait for each other.
            if session.first(LOCK_FOLDER, &[], |row| int(row, 0))?.is_none() {
                return Ok(false);
            }
            forget(session)
        })
    }

    /// Asks on the connection, made where it is not there.
    fn with<T>(&mut self, ask: impl FnOnce(Session<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let link = match self.link.take().filter(Link::is_sound) {
            Some(link) => link,
            None => Link::connect(&self.target)?,
        };
        let answer = ask(link.session());
        // After an error the connection may be in any state: the next question gets a new one.
        if answer.is_ok() {
            self.link = Some(link);
        }
        answer
    }

    fn in_transaction<T>(
        &mut self,
        ask: impl FnOnce(Session<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with(|session| {
            begin_writing(session)?;
            let answer = ask(session)?;
            session.script("COMMIT")?;
            Ok(answer)
        })
    }
}

/// Begins a transaction that writes.
pub(crate) fn begin_writing(session: Session<'_>) -> Result<(), StoreError> {
    match session.dialect() {
        Dialect::Mysql => session.script(mysql_session::BEGIN_WRITING),
        Dialect::Postgres | Dialect::Sqlite => session.script(&postgres_driver::begin_writing()),
    }
}

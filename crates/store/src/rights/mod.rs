//! What the role that serves needs on each table, and nothing more: the first line of law 1.
//!
//! [`NEEDED`] is the one table of it. A test works the same out from the statements of this crate, so that neither falls
//! behind the other; `print.rs` makes of it the SQL for an operator, [`grant_missing`] what a migration grants, [`Held`] what
//! `doctor` and the start compare it with.

mod print;

pub use print::{RoleNames, print_roles};

use crate::dialect::Dialect;
use crate::driver::Session;
use crate::error::StoreError;
use crate::hot::rows::{flag, text};
use std::collections::BTreeMap;

/// What one may do with the rows of a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Right {
    Select,
    Insert,
    Update,
    Delete,
}

impl Right {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Right::Select => "SELECT",
            Right::Insert => "INSERT",
            Right::Update => "UPDATE",
            Right::Delete => "DELETE",
        }
    }
}

const NONE: &[Right] = &[];
const READ: &[Right] = &[Right::Select];
const APPEND: &[Right] = &[Right::Select, Right::Insert];
const SET: &[Right] = &[Right::Select, Right::Update];
const KEEP: &[Right] = &[Right::Select, Right::Insert, Right::Update];
const COUNT: &[Right] = &[Right::Select, Right::Insert, Right::Update, Right::Delete];
const RENEW: &[Right] = &[Right::Select, Right::Insert, Right::Delete];

/// Every table of the schema with the rights of the runtime role. To lock a row takes the right to update it; on MySQL so does
/// to insert what may be there.
pub(crate) const NEEDED: &[(&str, &[Right])] = &[
    // History: appended and read. The text of an entry may be erased, and with it the reference under which it is found.
    ("entry", APPEND),
    ("audit", APPEND),
    ("outbox", APPEND),
    ("entry_text", RENEW),
    ("entry_reference", RENEW),
    ("wallet_history", APPEND),
    // Answers are forgotten after their time.
    ("answer", RENEW),
    // Quotes that were used are forgotten once their time is over.
    ("quote_use", RENEW),
    // Usage events are facts: none is ever taken twice.
    ("usage_event", APPEND),
    // Counts of refusals are added to, and forgotten after their time.
    ("refusal_count", COUNT),
    // What is derived from entries.
    ("wallet", KEEP),
    ("lot", KEEP),
    ("hold", KEEP),
    ("debt", RENEW),
    ("open_freeze", RENEW),
    ("counter", KEEP),
    ("fold", KEEP),
    // What is configured. Prices are never edited.
    ("tenant", KEEP),
    ("users", KEEP),
    ("unit", KEEP),
    ("action", KEEP),
    ("action_confirm", KEEP),
    ("action_unit", APPEND),
    ("price", APPEND),
    ("tenant_price", APPEND),
    ("tenant_discount", COUNT),
    ("limit_rule", RENEW),
    ("limit_alert", RENEW),
    ("user_preference", KEEP),
    ("api_key", KEEP),
    // Written anew where it changes.
    ("gate_rule", RENEW),
    ("config_epoch", SET),
    ("slot", SET),
    ("meta", KEEP),
    // What came before.
    ("refinery_schema_history", READ),
    ("migration_lock", NONE),
    // Nothing uses them yet, or only the embedded database does.
    ("pool", NONE),
    ("pool_member", NONE),
    ("answer_run", NONE),
    ("answer_run_head", NONE),
];

/// Tables that hold history, each with what nobody who serves may do to it.
pub(crate) const KEPT_FROM: [(&str, &[Hurt]); 3] = [
    ("entry", &[Hurt::Update, Hurt::Delete, Hurt::Truncate, Hurt::Alter]),
    ("entry_text", &[Hurt::Update, Hurt::Truncate, Hurt::Alter]),
    ("audit", &[Hurt::Update, Hurt::Delete, Hurt::Truncate, Hurt::Alter]),
];

/// A way to change what has been recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hurt {
    Update,
    Delete,
    Truncate,
    Alter,
}

/// TRUNCATE is a right of its own; ALTER belongs to the owner. A right on one column counts.
const POSTGRES_HELD: &str = "
        SELECT CAST(c.relname AS TEXT),
               CAST(CAST(has_table_privilege(c.oid, 'SELECT') AS INTEGER) AS BIGINT),
               CAST(CAST(has_table_privilege(c.oid, 'INSERT') AS INTEGER) AS BIGINT),
               CAST(CAST(has_any_column_privilege(c.oid, 'UPDATE') AS INTEGER) AS BIGINT),
               CAST(CAST(has_table_privilege(c.oid, 'DELETE') AS INTEGER) AS BIGINT),
               CAST(CAST(has_table_privilege(c.oid, 'TRUNCATE') AS INTEGER) AS BIGINT),
               CAST(CAST(pg_has_role(c.relowner, 'MEMBER') AS INTEGER) AS BIGINT)
          FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')";
const POSTGRES_ROLE: &str = "
        SELECT CAST(current_user AS TEXT), CAST(CAST(rolsuper AS INTEGER) AS BIGINT),
               CAST(CAST(COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE) AS INTEGER) AS BIGINT)
          FROM pg_catalog.pg_roles WHERE rolname = current_user";
/// The words of a schema may be a pattern.
const MYSQL_HELD: &str = "
        SELECT '*', privilege_type FROM information_schema.user_privileges WHERE grantee = ?1
         UNION
        SELECT '*', privilege_type FROM information_schema.schema_privileges
         WHERE grantee = ?1 AND DATABASE() LIKE table_schema
         UNION
        SELECT table_name, privilege_type FROM information_schema.table_privileges
         WHERE grantee = ?1 AND table_schema = DATABASE()
         UNION
        SELECT table_name, privilege_type FROM information_schema.column_privileges
         WHERE grantee = ?1 AND table_schema = DATABASE() AND privilege_type = 'UPDATE'";
const MYSQL_ROLE: &str = "SELECT CURRENT_USER()";

/// What the user of a connection may do to one table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct HeldOnTable {
    select: bool,
    insert: bool,
    update: bool,
    delete: bool,
    truncate: bool,
    alter: bool,
}

impl HeldOnTable {
    fn has(self, right: Right) -> bool {
        match right {
            Right::Select => self.select,
            Right::Insert => self.insert,
            Right::Update => self.update,
            Right::Delete => self.delete,
        }
    }

    fn may(self, hurt: Hurt) -> bool {
        match hurt {
            Hurt::Update => self.update,
            Hurt::Delete => self.delete,
            Hurt::Truncate => self.truncate,
            Hurt::Alter => self.alter,
        }
    }
}

/// What the user of a connection may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    /// The user, as the database names it.
    pub(crate) role: String,
    /// Nothing is kept from it.
    pub(crate) is_superuser: bool,
    /// It may make tables.
    pub(crate) makes_tables: bool,
    everywhere: HeldOnTable,
    tables: BTreeMap<String, HeldOnTable>,
    /// On MySQL triggers are hidden from whoever may not make them.
    pub(crate) sees_triggers: bool,
}

impl Held {
    /// Asks the database what the user of this connection may do.
    pub(crate) fn read(session: Session<'_>) -> Result<Held, StoreError> {
        match session.dialect() {
            Dialect::Mysql => Held::of_mysql(session),
            Dialect::Postgres | Dialect::Sqlite => Held::of_postgres(session),
        }
    }

    fn of_postgres(session: Session<'_>) -> Result<Held, StoreError> {
        let (role, is_superuser, makes_tables) =
            session.one(POSTGRES_ROLE, &[], |row| Ok((text(row, 0)?, flag(row, 1)?, flag(row, 2)?)))?;
        let tables = session.all(POSTGRES_HELD, &[], |row| {
            let (select, insert) = (flag(row, 1)?, flag(row, 2)?);
            let (update, delete) = (flag(row, 3)?, flag(row, 4)?);
            let (truncate, alter) = (flag(row, 5)?, flag(row, 6)?);
            Ok((text(row, 0)?, HeldOnTable { select, insert, update, delete, truncate, alter }))
        })?;
        let (everywhere, tables) = (HeldOnTable::default(), tables.into_iter().collect());
        Ok(Held { role, is_superuser, makes_tables, everywhere, tables, sees_triggers: true })
    }

    fn of_mysql(session: Session<'_>) -> Result<Held, StoreError> {
        let role = session.one(MYSQL_ROLE, &[], |row| text(row, 0))?;
        let grantee = grantee(&role);
        let rights =
            session.all(MYSQL_HELD, &[grantee.as_str().into()], |row| Ok((text(row, 0)?, text(row, 1)?)))?;
        let mut held = Held {
            role,
            is_superuser: false,
            makes_tables: false,
            everywhere: HeldOnTable::default(),
            tables: BTreeMap::new(),
            sees_triggers: false,
        };
        for (table, right) in rights {
            let everywhere = table == "*";
            held.is_superuser |= everywhere && right == "SUPER";
            held.makes_tables |= everywhere && right == "CREATE";
            held.sees_triggers |= right == "TRIGGER";
            let on = if everywhere { &mut held.everywhere } else { held.tables.entry(table).or_default() };
            match right.as_str() {
                "SELECT" => on.select = true,
                "INSERT" => on.insert = true,
                "UPDATE" => on.update = true,
                "DELETE" => on.delete = true,
                // To truncate a table is to drop it and make it again.
                "DROP" => on.truncate = true,
                "ALTER" => on.alter = true,
                _ => {}
            }
        }
        Ok(held)
    }

    fn on(&self, table: &str) -> HeldOnTable {
        let (all, one) = (self.everywhere, self.tables.get(table).copied().unwrap_or_default());
        HeldOnTable {
            select: all.select || one.select,
            insert: all.insert || one.insert,
            update: all.update || one.update,
            delete: all.delete || one.delete,
            truncate: all.truncate || one.truncate,
            alter: all.alter || one.alter,
        }
    }

    /// Rights that serving needs and this user lacks.
    pub(crate) fn missing(&self) -> Vec<(&'static str, Vec<Right>)> {
        let lacks = |(table, needed): &(&'static str, &'static [Right])| {
            let held = self.on(table);
            let missing: Vec<Right> = needed.iter().copied().filter(|right| !held.has(*right)).collect();
            (!missing.is_empty()).then_some((*table, missing))
        };
        NEEDED.iter().filter_map(lacks).collect()
    }

    /// In words, what this user could do to history; empty for a runtime role as it should be.
    pub(crate) fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
        if self.is_superuser {
            dangers.push("is a superuser".to_owned());
        }
        if self.makes_tables {
            dangers.push("may make tables".to_owned());
        }
        for (table, hurts) in KEPT_FROM {
            let held = self.on(table);
            let able: Vec<&str> =
                hurts.iter().filter(|hurt| held.may(**hurt)).map(|hurt| hurt.word()).collect();
            if !able.is_empty() {
                dangers.push(format!("may {} {table}", able.join(", ")));
            }
        }
        dangers
    }
}

impl Hurt {
    fn word(self) -> &'static str {
        match self {
            Hurt::Update => "update",
            Hurt::Delete => "delete",
            Hurt::Truncate => "truncate",
            Hurt::Alter => "alter",
        }
    }
}

/// `name@host` as the information schema has it.
fn grantee(role: &str) -> String {
    let (name, host) = role.rsplit_once('@').unwrap_or((role, "%"));
    format!("'{name}'@'{host}'")
}

/// Has the owner of the tables grant the runtime role what it lacks; answers the role when there was something. Nothing is
/// taken from it: that is for the operator, with the SQL of `print_roles`.
pub(crate) fn grant_missing(owner: Session<'_>, runtime: Session<'_>) -> Result<Option<String>, StoreError> {
    let held = Held::read(runtime)?;
    let missing = held.missing();
    if missing.is_empty() {
        return Ok(None);
    }
    let role = print::account(owner.dialect(), &held.role);
    let grants: String = missing
        .iter()
        .map(|(table, rights)| format!("GRANT {} ON {table} TO {role};\n", words(rights)))
        .collect();
    owner.script(&grants)?;
    Ok(Some(held.role))
}

fn words(rights: &[Right]) -> String {
    rights.iter().map(|right| right.word()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;

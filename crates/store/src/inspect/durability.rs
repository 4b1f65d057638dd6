//! Settings of a server that decide whether a commit is on disk when it is acknowledged.

use crate::dialect::Dialect;
use crate::driver::Session;
use crate::error::StoreError;
use crate::hot::rows::text_option;

/// A setting's name, how it is asked for, and the values that are safe.
type Asked = (&'static str, &'static str, &'static [&'static str]);

const ON: &[&str] = &["on", "ON", "1"];

const POSTGRES: &[Asked] = &[
    ("fsync", "SELECT current_setting('fsync')", ON),
    ("full_page_writes", "SELECT current_setting('full_page_writes')", ON),
    (
        "synchronous_commit",
        "SELECT current_setting('synchronous_commit')",
        &["on", "remote_apply", "remote_write", "local"],
    ),
];
const MYSQL: &[Asked] = &[
    ("innodb_flush_log_at_trx_commit", "SELECT CAST(@@innodb_flush_log_at_trx_commit AS CHAR(9))", ON),
    ("innodb_doublewrite", "SELECT CAST(@@innodb_doublewrite AS CHAR(30))", ON),
    // Without a binary log it plays no part.
    ("sync_binlog", "SELECT CAST(IF(@@log_bin, @@sync_binlog, 1) AS CHAR(20))", ON),
];

/// In words, which settings lose commits that were acknowledged; none when all are safe.
pub(super) fn unsafe_settings(session: Session<'_>) -> Result<Option<String>, StoreError> {
    let mut found = Vec::new();
    for (name, sql, safe) in asked(session) {
        let value = value(session, sql)?;
        if !safe.contains(&value.as_str()) {
            found.push(format!("{name} is {value}, not {}", safe.join(" or ")));
        }
    }
    let words = || format!("commits would not be durable: {}", found.join("; "));
    Ok((!found.is_empty()).then(words))
}

/// All settings with their values.
pub(super) fn settings(session: Session<'_>) -> Result<String, StoreError> {
    let all = asked(session).iter().map(|(name, sql, _)| Ok(format!("{name} is {}", value(session, sql)?)));
    Ok(all.collect::<Result<Vec<_>, StoreError>>()?.join(", "))
}

fn asked(session: Session<'_>) -> &'static [Asked] {
    match session.dialect() {
        Dialect::Sqlite => &[],
        Dialect::Postgres => POSTGRES,
        Dialect::Mysql => MYSQL,
    }
}

fn value(session: Session<'_>, sql: &'static str) -> Result<String, StoreError> {
    session.one(sql, &[], |row| Ok(text_option(row, 0)?.unwrap_or_default()))
}

//! What a server database must be set to before it may keep a ledger, and what stands between a hand and history.

use crate::dialect::Dialect;
use crate::driver::Session;
use crate::error::StoreError;

/// Refuses a server that acknowledges commits it has not put on disk (law 5).
pub(crate) fn refuse_unsafe(session: Session<'_>) -> Result<(), StoreError> {
    let unsafe_settings: Vec<String> = durability(session)?
        .into_iter()
        .filter(|(_, value, safe)| !safe.contains(&value.as_str()))
        .map(|(name, value, safe)| format!("{name} is {value}, not {}", safe.join(" or ")))
        .collect();
    if unsafe_settings.is_empty() {
        return Ok(());
    }
    let what = format!("commits would not be durable: {}", unsafe_settings.join("; "));
    Err(StoreError::Denied { what })
}

/// Settings that decide whether a commit is durable: name, value, and the values that are safe.
fn durability(
    session: Session<'_>,
) -> Result<Vec<(&'static str, String, &'static [&'static str])>, StoreError> {
    const ON: &[&str] = &["on", "ON", "1"];
    let asked: &[(&'static str, &'static str, &'static [&'static str])] = match session.dialect() {
        Dialect::Sqlite => &[],
        Dialect::Postgres => &[
            ("fsync", "SELECT current_setting('fsync')", ON),
            ("full_page_writes", "SELECT current_setting('full_page_writes')", ON),
            (
                "synchronous_commit",
                "SELECT current_setting('synchronous_commit')",
                &["on", "remote_apply", "remote_write", "local"],
            ),
        ],
        Dialect::Mysql => &[
            (
                "innodb_flush_log_at_trx_commit",
                "SELECT CAST(@@innodb_flush_log_at_trx_commit AS CHAR(9))",
                ON,
            ),
            ("innodb_doublewrite", "SELECT CAST(@@innodb_doublewrite AS CHAR(30))", ON),
            // Without a binary log it plays no part.
            ("sync_binlog", "SELECT CAST(IF(@@log_bin, @@sync_binlog, 1) AS CHAR(20))", ON),
        ],
    };
    let ask = |(name, sql, safe): &(&'static str, &'static str, &'static [&'static str])| {
        let value = session.one(sql, &[], |row| Ok(row.text(0)?.unwrap_or_default().to_owned()))?;
        Ok((*name, value, *safe))
    };
    asked.iter().map(ask).collect()
}

//! Settings of a server that decide whether a commit is on disk when it is acknowledged.

use crate::dialect::Dialect;
use crate::driver::Session;
use crate::error::StoreError;
use crate::hot::rows::text;

const POSTGRES_SETTINGS: &str = "
    SELECT name, setting FROM pg_catalog.pg_settings
     WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')";
const MYSQL_SETTINGS: &str = "
    SHOW VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit', 'innodb_doublewrite',
                                           'innodb_flush_method', 'log_bin', 'sync_binlog', 'binlog_format')";

/// A setting with the values under which a ledger may be kept; lower case, as names of values are in either.
type Rule = (&'static str, &'static [&'static str]);

/// A commit that is acknowledged is on the server's disk.
const POSTGRES: &[Rule] = &[
    ("fsync", &["on"]),
    ("full_page_writes", &["on"]),
    ("synchronous_commit", &["on", "remote_apply", "remote_write", "local"]),
];
/// The same.
const MYSQL: &[Rule] = &[
    ("innodb_flush_log_at_trx_commit", &["1"]),
    ("innodb_doublewrite", &["on", "1", "fast", "detect_and_recover"]),
    // Every method but those that were made to measure how slow the disk is.
    (
        "innodb_flush_method",
        &["fsync", "o_dsync", "o_direct", "o_direct_no_fsync", "fdatasync", "unbuffered", "normal"],
    ),
];
/// The same where there is a binary log: a commit that is not in it is undone when the server starts after a crash. By
/// statements it cannot tell what is written here, and the server would refuse each of them.
const MYSQL_WITH_LOG: &[Rule] = &[("sync_binlog", &["1"]), ("binlog_format", &["row", "mixed"])];

/// The settings of a server that matter here.
pub(super) struct Durability {
    rules: Vec<Rule>,
    settings: Vec<(String, String)>,
}

impl Durability {
    pub(super) fn read(session: Session<'_>) -> Result<Durability, StoreError> {
        let (sql, mut rules) = match session.dialect() {
            Dialect::Sqlite => return Ok(Durability { rules: Vec::new(), settings: Vec::new() }),
            Dialect::Postgres => (POSTGRES_SETTINGS, POSTGRES.to_vec()),
            Dialect::Mysql => (MYSQL_SETTINGS, MYSQL.to_vec()),
        };
        let settings =
            session.all(sql, &[], |row| Ok((text(row, 0)?.to_lowercase(), text(row, 1)?.to_lowercase())))?;
        if settings.iter().any(|(name, value)| name == "log_bin" && value == "on") {
            rules.extend(MYSQL_WITH_LOG);
        }
        Ok(Durability { rules, settings })
    }

    /// In words, which settings lose commits that were acknowledged; none when all are safe.
    pub(super) fn what_is_unsafe(&self) -> Option<String> {
        let broken = broken(&self.rules, &self.settings);
        (!broken.is_empty()).then(|| format!("it would lose commits: {}", broken.join("; ")))
    }

    /// All of them with their values.
    pub(super) fn shown(&self) -> String {
        let shown = self.settings.iter().map(|(name, value)| format!("{name} is {value}"));
        shown.collect::<Vec<_>>().join(", ")
    }
}

/// What is set otherwise than it must be. What the server does not know of plays no part there.
fn broken(rules: &[Rule], settings: &[(String, String)]) -> Vec<String> {
    let set = |(name, safe): &Rule| {
        let (_, value) = settings.iter().find(|(set, _)| set == name)?;
        let is_safe = safe.contains(&value.as_str());
        (!is_safe).then(|| format!("{name} is {value}, not {}", safe.join(" or ")))
    };
    rules.iter().filter_map(set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_would_lose_commits_is_named_with_what_it_should_be() {
        let set = |name: &str, value: &str| (name.to_string(), value.to_string());
        let safe = [set("innodb_flush_log_at_trx_commit", "1"), set("innodb_doublewrite", "on")];
        assert_eq!(broken(MYSQL, &safe), Vec::<String>::new());
        let lossy = [set("innodb_flush_log_at_trx_commit", "2"), set("sync_binlog", "0")];
        assert_eq!(broken(MYSQL, &lossy), ["innodb_flush_log_at_trx_commit is 2, not 1"]);
        assert_eq!(broken(MYSQL_WITH_LOG, &lossy), ["sync_binlog is 0, not 1"]);
        assert_eq!(broken(POSTGRES, &[set("fsync", "off")]), ["fsync is off, not on"]);
    }
}

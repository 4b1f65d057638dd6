//! What MariaDB's and MySQL's error numbers mean to callers.

use crate::error::StoreError;
use mysql_async::ServerError;

/// A table, an index, a row, a trigger that is there already.
const DONE_BEFORE: [u16; 4] = [1050, 1061, 1062, 1359];
/// Under binary logging triggers need a right that the owner of a schema does not have (1419); elsewhere they may need one that
/// was not given (1142, 1227).
const NO_TRIGGERS: [u16; 3] = [1419, 1142, 1227];

/// Whether a statement of a migration failed because it was carried out before: MySQL commits each change of a schema by
/// itself, so a migration that was interrupted is repeated from its beginning.
pub(super) fn is_done_before(error: &ServerError) -> bool {
    DONE_BEFORE.contains(&error.code)
}

/// Whether the server allows no triggers to this user.
pub(super) fn refuses_triggers(statement: &str, error: &ServerError) -> bool {
    let lines = statement.lines().map(str::trim_start).filter(|line| !line.starts_with("--"));
    let is_trigger = lines.take(1).any(|line| line.starts_with("CREATE TRIGGER"));
    is_trigger && NO_TRIGGERS.contains(&error.code)
}

/// The connection is of no use, or there is none.
pub(super) fn unavailable(what: &str) -> StoreError {
    StoreError::Unavailable { what: format!("MySQL: {what}") }
}

/// Sorts an error of the driver or the server into the classes that callers treat differently.
pub(super) fn classify(error: &mysql_async::Error) -> StoreError {
    match error {
        mysql_async::Error::Server(error) => classify_said(error),
        error => unavailable(&error.to_string()),
    }
}

fn classify_said(error: &ServerError) -> StoreError {
    let said = || format!("MySQL: {} ({})", error.message, error.code);
    match error.code {
        // A lock did not come free (1205, 3572), a deadlock or a conflict between the nodes of a cluster (1213, 3101), a row
        // (1020) or table (1412) that was changed meanwhile, a key that was taken (1062), too many transactions (1637), a
        // statement that took too long (1969, 3024) or was stopped (1317).
        1205 | 3572 | 1213 | 3101 | 1020 | 1412 | 1062 | 1637 | 1969 | 3024 | 1317 => {
            StoreError::Conflict { what: said() }
        }
        // No room for a connection (1040, 1203, 1226), the server stops (1053, 1077, 1079), the node is not part of its
        // cluster (1047), somebody ended the connection (1927, 3169) or it was idle (4031), the network (1152, 1158-1161), a
        // statement that this server did not prepare, as a proxy went over to another one (1243).
        1040 | 1203 | 1226 | 1053 | 1077 | 1079 | 1047 | 1927 | 3169 | 4031 | 1152 | 1158..=1161 | 1243 => {
            StoreError::Unavailable { what: said() }
        }
        // The account, its password, its host, the database's name, what it may do.
        1044 | 1045 | 1698 | 1130 | 1049 | 1142 | 1143 | 1227 | 1370 | 1410 | 1419 => {
            StoreError::Denied { what: said() }
        }
        // The table, the disk; the engine and the binary log hand on the system's number for it.
        1114 | 1021 => StoreError::Full,
        1026 | 1030 | 1180 if error.message.contains("No space left") => StoreError::Full,
        1290 | 1792 | 1836 => StoreError::ReadOnly,
        1034 | 1194 | 1195 | 1712 | 1877 => StoreError::Corrupt { what: said() },
        // A value is absent (1048), out of range (1264, 1690), no value of its type (1292, 1366, 1367) or too long (1406), or
        // a row is against a constraint (1451, 1452, 3819, 4025).
        1048 | 1264 | 1690 | 1292 | 1366 | 1367 | 1406 | 1451 | 1452 | 3819 | 4025 => {
            StoreError::Refused { what: said() }
        }
        _ => StoreError::Other(said()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, message: &str) -> ServerError {
        ServerError { code, message: message.into(), state: "HY000".into() }
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        let class = |code| classify(&mysql_async::Error::Server(said(code, "said")));
        for code in [1205, 1213, 1062, 1969, 1412] {
            assert!(matches!(class(code), StoreError::Conflict { .. }), "{code}");
        }
        for code in [1040, 1053, 1047, 1927, 1159] {
            assert!(matches!(class(code), StoreError::Unavailable { .. }), "{code}");
        }
        for code in [1045, 1049, 1142] {
            assert!(matches!(class(code), StoreError::Denied { .. }), "{code}");
        }
        for code in [1264, 1406, 4025] {
            assert!(matches!(class(code), StoreError::Refused { .. }), "{code}");
        }
        assert!(matches!(class(1290), StoreError::ReadOnly));
        assert!(matches!(class(1114), StoreError::Full));
        assert!(matches!(class(1242), StoreError::Other(_)));
        let errno = "Got error 28 \"No space left on device\" from storage engine InnoDB";
        assert!(matches!(classify(&mysql_async::Error::Server(said(1030, errno))), StoreError::Full));
        assert!(matches!(class(1030), StoreError::Other(_)));
    }

    #[test]
    fn only_a_trigger_may_be_refused_in_a_migration() {
        let trigger = "-- why\nCREATE TRIGGER t BEFORE UPDATE ON entry FOR EACH ROW SIGNAL SQLSTATE '45000'";
        assert!(refuses_triggers(trigger, &said(1419, "")) && refuses_triggers(trigger, &said(1142, "")));
        assert!(!refuses_triggers(trigger, &said(1064, "")));
        assert!(!refuses_triggers("CREATE TABLE t (a BIGINT)", &said(1142, "")));
    }
}

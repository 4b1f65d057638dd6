//! The one list of differences between databases: how type tokens of the migrations are rendered, and what a cold statement
//! says differently.
//!
//! Cold statements are written as SQLite and PostgreSQL understand them, with `?1` for the first value.

use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use std::sync::LazyLock;

/// A database system.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Dialect {
    /// Embedded.
    Sqlite,
    /// PostgreSQL 14 and later.
    Postgres,
    /// MariaDB 10.6 and later; MySQL 8 is written for and not tested.
    Mysql,
}

/// A cold statement as one database wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Statement {
    /// The text. Made once for each statement of the program, of which there are a few dozen, and kept for its life.
    pub(crate) text: &'static str,
    /// For each placeholder of the text, which value it stands for, counted from 0.
    pub(crate) order: &'static [usize],
}

/// Tokens of the migrations, each with what it stands for: SQLite, PostgreSQL, MySQL.
const TOKENS: [(&str, [&str; 3]); 13] = [
    ("{int}", ["INTEGER", "BIGINT", "BIGINT"]),
    ("{id}", ["BLOB", "BYTEA", "VARBINARY(16)"]),
    ("{digest}", ["BLOB", "BYTEA", "VARBINARY(32)"]),
    ("{answer_key}", ["BLOB", "BYTEA", "VARBINARY(28)"]),
    // Bytes, so that no collation makes two keys one.
    ("{key}", ["TEXT", "TEXT COLLATE \"C\"", "VARBINARY(128)"]),
    // 255 characters, of up to four bytes each.
    ("{reference}", ["TEXT", "TEXT COLLATE \"C\"", "VARBINARY(1020)"]),
    ("{text}", ["TEXT", "TEXT", "MEDIUMTEXT"]),
    ("{blob}", ["BLOB", "BYTEA", "MEDIUMBLOB"]),
    ("{position}", ["INTEGER NOT NULL PRIMARY KEY", "BIGINT NOT NULL", "BIGINT NOT NULL"]),
    // Where data may be distributed by tenant, the tenant is part of every key; behind the position, so that rows still
    // go to the end.
    (
        "{primary}",
        ["", ",\n    PRIMARY KEY (position, tenant_no)", ",\n    PRIMARY KEY (position, tenant_no)"],
    ),
    // Where an index holds every row, its key finds those that it was made for.
    ("{and_state}", ["", "", ", state"]),
    // STRICT keeps a wrong type out of a column: SQLite would otherwise store a text where an integer belongs.
    ("{rows}", [" STRICT", "", INNODB]),
    ("{keyed}", [" STRICT, WITHOUT ROWID", "", INNODB]),
];
const INNODB: &str = " ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// Statements that were rendered before, by the address of our text.
static RENDERED: LazyLock<RwLock<FxHashMap<(Dialect, usize), Statement>>> = LazyLock::new(RwLock::default);

impl Dialect {
    fn column(self) -> usize {
        match self {
            Dialect::Sqlite => 0,
            Dialect::Postgres => 1,
            Dialect::Mysql => 2,
        }
    }

    /// Renders a migration's text for this database.
    pub(crate) fn render(self, text: &str) -> String {
        let typed =
            TOKENS.iter().fold(text.to_owned(), |text, (token, sql)| text.replace(token, sql[self.column()]));
        self.replace_conditions(&typed)
    }

    /// `{where:…}` narrows an index where the database can; elsewhere the index holds every row.
    fn replace_conditions(self, text: &str) -> String {
        let mut parts = text.split("{where:");
        let mut rendered = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (condition, rest) =
                part.split_once('}').expect("migrations are compiled in and rendered by a test");
            if self != Dialect::Mysql {
                rendered.push_str(" WHERE ");
                rendered.push_str(condition);
            }
            rendered.push_str(rest);
        }
        rendered
    }

    /// The condition for rows whose key comes behind the values `?1, ?2, …`, in the words that let the database begin there in
    /// its index.
    pub(crate) fn keys_behind(self, keys: &[&str]) -> String {
        let place = |index: usize| format!("?{}", index + 1);
        if self != Dialect::Mysql {
            let places: Vec<String> = (0..keys.len()).map(place).collect();
            return format!("({}) > ({})", keys.join(", "), places.join(", "));
        }
        // MySQL walks the index from its start for a comparison of rows.
        let alternative = |last: usize| {
            let same = (0..last).map(|index| format!("{} = {}", keys[index], place(index)));
            let terms: Vec<String> = same.chain([format!("{} > {}", keys[last], place(last))]).collect();
            format!("({})", terms.join(" AND "))
        };
        (0..keys.len()).map(alternative).collect::<Vec<_>>().join(" OR ")
    }

    /// A cold statement as this database wants it.
    pub(crate) fn statement(self, sql: &'static str) -> Statement {
        if self == Dialect::Sqlite {
            return Statement { text: sql, order: &[] };
        }
        let known = (self, sql.as_ptr() as usize);
        if let Some(statement) = RENDERED.read().get(&known) {
            return *statement;
        }
        let statement = self.render_statement(sql);
        *RENDERED.write().entry(known).or_insert(statement)
    }

    fn render_statement(self, sql: &str) -> Statement {
        let text = match self {
            Dialect::Mysql => compare_columns(&on_duplicate_key(&hint_indexes(sql, " FORCE INDEX (", ")"))),
            Dialect::Postgres | Dialect::Sqlite => hint_indexes(sql, "", ""),
        };
        let mut rendered = String::with_capacity(text.len());
        let mut order = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('?') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let number: usize = after[..digits].parse().expect("placeholders are numbered");
            rendered.push_str(before);
            order.push(number - 1);
            match self {
                Dialect::Mysql => rendered.push('?'),
                Dialect::Postgres | Dialect::Sqlite => rendered.push_str(&format!("${number}")),
            }
            rest = &after[digits..];
        }
        rendered.push_str(rest);
        // Leaked on purpose: see `Statement::text`.
        Statement { text: rendered.leak(), order: order.leak() }
    }
}

/// `INDEXED BY name` tells SQLite's planner what PostgreSQL finds out from its statistics; MySQL's has words of its own for it.
fn hint_indexes(sql: &str, before: &str, after: &str) -> String {
    let mut words = sql.split(" INDEXED BY ");
    let mut text = words.next().unwrap_or_default().to_owned();
    for part in words {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if !before.is_empty() {
            text.extend([before, &part[..part.len() - rest.len()], after]);
        }
        text.push_str(rest);
    }
    text
}

/// `(a, b) > (?1, ?2)` as `(a > ?1 OR a = ?1 AND b > ?2)`: by a comparison of rows MariaDB and MySQL find no place in an
/// index and read it from its beginning.
fn compare_columns(sql: &str) -> String {
    let mut text = sql.to_owned();
    for comparison in [">=", "<=", ">", "<"] {
        while let Some((left, right)) = text.split_once(&format!(") {comparison} (")) {
            let parts = (left.rsplit_once('('), right.split_once(')'));
            let (Some((before, columns)), Some((values, after))) = parts else {
                unreachable!("brackets are closed")
            };
            let pairs = (columns.split_once(", "), values.split_once(", "));
            let (Some((a, b)), Some((x, y))) = pairs else { unreachable!("rows of two are compared") };
            let strictly = &comparison[..1];
            text = format!("{before}({a} {strictly} {x} OR {a} = {x} AND {b} {comparison} {y}){after}");
        }
    }
    text
}

/// MySQL's words for inserting what may be there. `DO NOTHING` becomes an assignment that changes nothing, as `IGNORE` would
/// also swallow values that do not fit.
fn on_duplicate_key(sql: &str) -> String {
    let Some((insert, conflict)) = sql.split_once("ON CONFLICT (") else { return sql.to_owned() };
    let (columns, action) = conflict.split_once(')').expect("the columns of a conflict are in brackets");
    let first = columns.split(',').next().unwrap_or_default().trim();
    let set = match action.trim_start().strip_prefix("DO UPDATE") {
        None => format!("{first} = {first}"),
        Some(action) => {
            let set = action.trim_start().strip_prefix("SET").expect("an update sets something");
            let assigned = set.split(',').map(|part| {
                let (column, value) = part.split_once('=').expect("an assignment");
                let value =
                    value.trim().strip_prefix("excluded.").expect("cold upserts assign what was offered");
                format!("{} = VALUES({value})", column.trim())
            });
            assigned.collect::<Vec<_>>().join(", ")
        }
    };
    format!("{insert}ON DUPLICATE KEY UPDATE {set}")
}

/// Declares SQL texts as constants and, for the test that prepares every one of them, lists them.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$meta])* const $name: &str = $sql;)*
        /// Every statement of this file.
        #[cfg(test)]
        pub(crate) const STATEMENTS: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use statements;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_follow_the_database() {
        let sql = "UPDATE slot SET seq = ?3 WHERE slot = ?1 AND epoch = ?2 AND slot = ?1";
        let postgres = Dialect::Postgres.statement(sql);
        assert_eq!(postgres.text, "UPDATE slot SET seq = $3 WHERE slot = $1 AND epoch = $2 AND slot = $1");
        let mysql = Dialect::Mysql.statement(sql);
        assert_eq!(mysql.text, "UPDATE slot SET seq = ? WHERE slot = ? AND epoch = ? AND slot = ?");
        assert_eq!(mysql.order, [2, 0, 1, 0]);
        assert_eq!(Dialect::Sqlite.statement(sql).text, sql);
    }

    #[test]
    fn inserting_what_may_be_there_follows_the_database() {
        let absent = "INSERT INTO a (b, c) VALUES (?1, ?2) ON CONFLICT (b, c) DO NOTHING";
        let mysql = Dialect::Mysql.statement(absent).text;
        assert_eq!(mysql, "INSERT INTO a (b, c) VALUES (?, ?) ON DUPLICATE KEY UPDATE b = b");
        let upsert = "INSERT INTO a (b, c) VALUES (?1, ?2)\n  ON CONFLICT (b) DO UPDATE SET c = excluded.c";
        let mysql = Dialect::Mysql.statement(upsert).text;
        assert_eq!(mysql, "INSERT INTO a (b, c) VALUES (?, ?)\n  ON DUPLICATE KEY UPDATE c = VALUES(c)");
    }

    #[test]
    fn keys_are_compared_as_the_database_can_use_its_index() {
        assert_eq!(Dialect::Postgres.keys_behind(&["a", "b"]), "(a, b) > (?1, ?2)");
        assert_eq!(Dialect::Sqlite.keys_behind(&["a"]), "(a) > (?1)");
        assert_eq!(Dialect::Mysql.keys_behind(&["a", "b"]), "(a > ?1) OR (a = ?1 AND b > ?2)");
    }

    #[test]
    fn hints_and_conditions_are_for_those_who_understand_them() {
        let sql = "SELECT a FROM lot INDEXED BY lot_by_wallet WHERE b = ?1";
        assert_eq!(Dialect::Postgres.statement(sql).text, "SELECT a FROM lot WHERE b = $1");
        let mysql = Dialect::Mysql.statement(sql).text;
        assert_eq!(mysql, "SELECT a FROM lot FORCE INDEX (lot_by_wallet) WHERE b = ?");
        let index = "CREATE INDEX i ON t (a){where:a > 1};";
        assert_eq!(Dialect::Postgres.render(index), "CREATE INDEX i ON t (a) WHERE a > 1;");
        assert_eq!(Dialect::Mysql.render(index), "CREATE INDEX i ON t (a);");
        let index = "CREATE INDEX i ON t (a{and_state}){where:state = 1};";
        assert_eq!(Dialect::Sqlite.render(index), "CREATE INDEX i ON t (a) WHERE state = 1;");
        assert_eq!(Dialect::Mysql.render(index), "CREATE INDEX i ON t (a, state);");
    }

    #[test]
    fn rows_are_compared_so_that_an_index_is_used() {
        let sql = "SELECT a FROM t WHERE (a, b) >= (?1, ?2) AND (a, b) < (?3, ?4) AND c > ?5";
        assert_eq!(Dialect::Postgres.statement(sql).text, sql.replace('?', "$"));
        let mysql = Dialect::Mysql.statement(sql);
        let both = "(a > ? OR a = ? AND b >= ?) AND (a < ? OR a = ? AND b < ?)";
        assert_eq!(mysql.text, format!("SELECT a FROM t WHERE {both} AND c > ?"));
        assert_eq!(mysql.order, [0, 0, 1, 2, 2, 3, 4]);
    }
}

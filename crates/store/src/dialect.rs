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
const TOKENS: [(&str, [&str; 3]); 12] = [
    ("{int}", ["INTEGER", "BIGINT", "BIGINT"]),
    ("{id}", ["BLOB", "BYTEA", "VARBINARY(16)"]),
    ("{digest}", ["BLOB", "BYTEA", "VARBINARY(32)"]),
    ("{answer_key}", ["BLOB", "BYTEA", "VARBINARY(28)"]),
    // Bytes, so that no collation makes two keys one.
    ("{key}", ["TEXT", "TEXT COLLATE \"C\"", "VARBINARY(128)"]),
    ("{reference}", ["TEXT", "TEXT COLLATE \"C\"", "VARBINARY(255)"]),
    ("{text}", ["TEXT", "TEXT", "MEDIUMTEXT"]),
    ("{blob}", ["BLOB", "BYTEA", "MEDIUMBLOB"]),
    ("{position}", ["INTEGER NOT NULL PRIMARY KEY", "BIGINT NOT NULL", "BIGINT NOT NULL"]),
    // Where data may be distributed by tenant, the tenant is part of every key; behind the position, so that rows still
    // go to the end.
    (
        "{primary}",
        ["", ",\n    PRIMARY KEY (position, tenant_no)", ",\n    PRIMARY KEY (position, tenant_no)"],
    ),
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
        let text = without_index_hints(sql);
        let text = if self == Dialect::Mysql { on_duplicate_key(&text) } else { text };
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

/// `INDEXED BY name` tells SQLite's planner what the others find out from their statistics.
fn without_index_hints(sql: &str) -> String {
    let mut words = sql.split(" INDEXED BY ");
    let mut text = words.next().unwrap_or_default().to_owned();
    for part in words {
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'));
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
        let index = "CREATE INDEX i ON t (a){where:a > 1};";
        assert_eq!(Dialect::Postgres.render(index), "CREATE INDEX i ON t (a) WHERE a > 1;");
        assert_eq!(Dialect::Mysql.render(index), "CREATE INDEX i ON t (a);");
    }
}

//! The one list of differences between databases: how type tokens of the migrations are rendered.
//!
//! SQLite is the only database so far; PostgreSQL and MySQL are further variants here and further arms below, and the
//! migration texts stay as they are.

/// A database that migrations are rendered for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    /// Embedded.
    Sqlite,
}

/// Tokens of the migrations, each with what it stands for.
const SQLITE_TOKENS: [(&str, &str); 8] = [
    ("{int}", "INTEGER"),
    ("{id}", "BLOB"),
    ("{digest}", "BLOB"),
    ("{key}", "TEXT"),
    ("{text}", "TEXT"),
    ("{blob}", "BLOB"),
    // STRICT keeps a wrong type out of a column: SQLite would otherwise store a text where an integer belongs.
    ("{rows}", " STRICT"),
    ("{keyed}", " STRICT, WITHOUT ROWID"),
];

impl Dialect {
    /// Renders a migration's text for this database.
    pub(crate) fn render(self, text: &str) -> String {
        match self {
            Dialect::Sqlite => {
                let types =
                    SQLITE_TOKENS.iter().fold(text.to_owned(), |text, (token, sql)| text.replace(token, sql));
                replace_conditions(&types)
            }
        }
    }
}

/// `{where:…}` narrows an index where the database can; one that cannot would render it as nothing.
fn replace_conditions(text: &str) -> String {
    let mut parts = text.split("{where:");
    let mut rendered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (condition, rest) =
            part.split_once('}').expect("migrations are compiled in and rendered by a test");
        rendered.push_str(" WHERE ");
        rendered.push_str(condition);
        rendered.push_str(rest);
    }
    rendered
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

//! A database of one's own on a server, gone when it is dropped: what tests and trials work on.
//!
//! It keeps nothing that anybody needs, so its name may be left to chance. Everything is done on a thread of its own, so that
//! it may be made and dropped where blocking is not allowed.

use crate::dialect::Dialect;
use crate::driver::{DatabaseUrl, Link, Session, Target};
use crate::error::StoreError;
use crate::hot::rows::int;
use crate::migrate::{migrate_server, rendered};
use std::hash::{BuildHasher, RandomState};

/// A database that is made on a server and dropped with this.
pub struct ScratchDatabase {
    /// Where it was asked for.
    beside: Target,
    name: String,
    url: String,
}

impl ScratchDatabase {
    /// An empty one beside the database of this URL, whose user must be allowed to make databases.
    ///
    /// # Errors
    /// The URL is no server's, the server is away or refuses.
    pub fn empty(url: &str) -> Result<ScratchDatabase, StoreError> {
        let scratch = ScratchDatabase::named(url)?;
        alone(|| {
            let link = Link::connect(&scratch.beside)?;
            link.session().migrate(&format!("CREATE DATABASE {}", scratch.name))
        })?;
        Ok(scratch)
    }

    /// One with the schema that this program knows.
    ///
    /// # Errors
    /// As for [`ScratchDatabase::empty`].
    pub fn migrated(url: &str) -> Result<ScratchDatabase, StoreError> {
        let scratch = ScratchDatabase::named(url)?;
        if scratch.beside.dialect == Dialect::Postgres {
            let template = template(url)?;
            alone(|| {
                let link = Link::connect(&scratch.beside)?;
                link.session().migrate(&format!("CREATE DATABASE {} TEMPLATE {template}", scratch.name))
            })?;
            return Ok(scratch);
        }
        let scratch = ScratchDatabase::empty(url)?;
        alone(|| migrate_server(&server(&scratch.url)?))?;
        Ok(scratch)
    }

    /// Its URL: that of the database beside which it was made, with another name.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn named(url: &str) -> Result<ScratchDatabase, StoreError> {
        let beside = server(url)?;
        let name = format!("purser_test_{:016x}", RandomState::new().hash_one("name"));
        let url = with_name(url, &name);
        Ok(ScratchDatabase { beside, name, url })
    }
}

impl Drop for ScratchDatabase {
    fn drop(&mut self) {
        let dropped = alone(|| {
            let link = Link::connect(&self.beside)?;
            link.session().migrate(&drop_words(link.session(), &self.name))
        });
        if let Err(error) = dropped {
            tracing::warn!(%error, "{} was left behind", self.name);
        }
    }
}

/// The words that drop a database, whoever is connected to it.
fn drop_words(session: Session<'_>, name: &str) -> String {
    let force = if session.dialect() == Dialect::Postgres { " WITH (FORCE)" } else { "" };
    format!("DROP DATABASE IF EXISTS {name}{force}")
}

/// A migrated database to copy from, made by whoever needs it first: copying is much quicker than migrating. Its name follows
/// from the schema, and it gets that name when it is complete.
fn template(url: &str) -> Result<String, StoreError> {
    let mut schema = blake3::Hasher::new();
    for (_, name, text) in rendered(Dialect::Postgres) {
        schema.update(name.as_bytes()).update(text.as_bytes());
    }
    let name = format!("purser_template_{}", &schema.finalize().to_hex()[..16]);
    let beside = server(url)?;
    alone(|| {
        let link = Link::connect(&beside)?;
        if exists(link.session(), &name)? {
            return Ok(());
        }
        // Not dropped: it is given away.
        let made = std::mem::ManuallyDrop::new(ScratchDatabase::empty(url)?);
        migrate_server(&server(&made.url)?)?;
        let renamed = link.session().migrate(&format!("ALTER DATABASE {} RENAME TO {name}", made.name));
        match renamed {
            Ok(()) => Ok(()),
            // Somebody else was quicker.
            Err(_) if exists(link.session(), &name)? => {
                link.session().migrate(&drop_words(link.session(), &made.name))
            }
            Err(error) => Err(error),
        }
    })?;
    Ok(name)
}

fn exists(session: Session<'_>, name: &str) -> Result<bool, StoreError> {
    const COUNT: &str = "SELECT COUNT(*) FROM pg_catalog.pg_database WHERE datname = ?1";
    Ok(session.one(COUNT, &[name.into()], |row| int(row, 0))? > 0)
}

fn server(url: &str) -> Result<Target, StoreError> {
    match DatabaseUrl::parse(url).map_err(StoreError::Other)? {
        DatabaseUrl::Server(target) => Ok(target),
        DatabaseUrl::Sqlite(_) => {
            Err(StoreError::Other("a file needs no server to make databases on".into()))
        }
    }
}

/// The URL with another name of a database.
fn with_name(url: &str, name: &str) -> String {
    let (front, query) = url.split_once('?').map_or((url, None), |(front, query)| (front, Some(query)));
    let authority = front.rsplit_once('/').map_or(front, |(authority, _)| authority);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{authority}/{name}{query}")
}

/// Does it on a thread of its own.
fn alone<T: Send>(what: impl FnOnce() -> Result<T, StoreError> + Send) -> Result<T, StoreError> {
    std::thread::scope(|scope| {
        let done = scope.spawn(what).join();
        done.unwrap_or_else(|_| Err(StoreError::Other("making or dropping a database met a bug".into())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_the_database_changes() {
        assert_eq!(
            with_name("postgres://a:b%2F@h:1,i:2/db?prepared=off", "x"),
            "postgres://a:b%2F@h:1,i:2/x?prepared=off"
        );
        assert_eq!(with_name("mysql://a@h/db", "x"), "mysql://a@h/x");
    }
}

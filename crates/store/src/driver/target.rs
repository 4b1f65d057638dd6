//! Where a server database is and how to reach it, from its URL.
//!
//! `postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?sslmode=…` and `mysql://…` alike. Several hosts are tried in their
//! order: the first that takes the connection is used, which is how every node of a cluster writes to the same one.

use crate::dialect::Dialect;
use std::fmt;
use std::path::PathBuf;

/// A database: a file, or a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DatabaseUrl {
    /// A file of the embedded database.
    Sqlite(PathBuf),
    /// A server.
    Server(Target),
}

/// A server database. Never shows its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) dialect: Dialect,
    /// Host and port of each server, in the order they are tried; a host that begins with `/` is a folder with a socket.
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
    pub(crate) database: String,
    pub(crate) tls: Tls,
    /// The certificates to trust instead of the public ones.
    pub(crate) root_certificates: Option<PathBuf>,
    /// Whether the database keeps statements prepared; not behind a pooler that hands each transaction another connection.
    pub(crate) keep_prepared: bool,
}

/// Whether and how strictly a connection is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tls {
    /// Never.
    Off,
    /// Always, whoever answers.
    Required,
    /// Always, and the server must prove its name.
    Verified,
}

/// Words of the query part of a URL.
const WORDS: &str = "sslmode=disable|require|verify-full, sslrootcert=FILE, prepared=on|off, host=FOLDER";

impl DatabaseUrl {
    /// Reads `sqlite:PATH`, `postgres://…` or `mysql://…`.
    ///
    /// # Errors
    /// Says what cannot be read, without repeating a password.
    pub fn parse(text: &str) -> Result<DatabaseUrl, String> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return match path {
                "" => Err("`sqlite:` names no file".into()),
                path if path.starts_with("//") => Err("write sqlite:PATH, without //".into()),
                path if path.starts_with(':') => Err("a ledger is kept in a file, not in memory".into()),
                path => Ok(DatabaseUrl::Sqlite(PathBuf::from(path))),
            };
        }
        let Some((scheme, rest)) = text.split_once("://") else { return Err(unknown()) };
        let (dialect, port) = match scheme {
            "postgres" | "postgresql" => (Dialect::Postgres, 5432),
            "mysql" | "mariadb" => (Dialect::Mysql, 3306),
            _ => return Err(unknown()),
        };
        Target::parse(dialect, port, rest).map(DatabaseUrl::Server)
    }
}

fn unknown() -> String {
    "it is none of sqlite:PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE, mysql://USER:PASSWORD@HOST:PORT/DATABASE".into()
}

impl Target {
    fn parse(dialect: Dialect, default_port: u16, rest: &str) -> Result<Target, String> {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (decode(user)?, Some(decode(password)?)),
            None => (decode(credentials)?, None),
        };
        if user.is_empty() {
            return Err("it names no user (USER:PASSWORD@ before the host)".into());
        }
        let database = decode(database)?;
        if database.is_empty() {
            return Err("it names no database (/DATABASE behind the host)".into());
        }
        let hosts = hosts.split(',').filter(|host| !host.is_empty()).map(|host| address(host, default_port));
        let mut target = Target {
            dialect,
            hosts: hosts.collect::<Result<_, _>>()?,
            user,
            password,
            database,
            tls: Tls::Off,
            root_certificates: None,
            keep_prepared: true,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            target.set(pair, default_port)?;
        }
        if target.hosts.is_empty() {
            return Err("it names no host".into());
        }
        if target.root_certificates.is_some() && target.tls != Tls::Verified {
            return Err("sslrootcert is believed with sslmode=verify-full only".into());
        }
        Ok(target)
    }

    fn set(&mut self, pair: &str, default_port: u16) -> Result<(), String> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (name, decode(value)?.as_str()) {
            ("sslmode", "disable") => self.tls = Tls::Off,
            ("sslmode", "require") => self.tls = Tls::Required,
            ("sslmode", "verify-full") => self.tls = Tls::Verified,
            ("sslrootcert", file) if !file.is_empty() => self.root_certificates = Some(PathBuf::from(file)),
            ("prepared", "on") => self.keep_prepared = true,
            ("prepared", "off") => self.keep_prepared = false,
            ("host", folder) if folder.starts_with('/') => {
                let port = self.hosts.first().map_or(default_port, |(_, port)| *port);
                self.hosts = vec![(folder.to_owned(), port)];
            }
            _ => return Err(format!("`{name}` is not understood there (it may say {WORDS})")),
        }
        Ok(())
    }

    /// The user it is reached as.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Whether a password and balances cross a network in plain text.
    pub(crate) fn is_readable_by_others(&self) -> bool {
        let near = |host: &str| {
            let address = host.parse::<std::net::IpAddr>();
            host == "localhost" || host.starts_with('/') || address.is_ok_and(|address| address.is_loopback())
        };
        self.tls == Tls::Off && !self.hosts.iter().all(|(host, _)| near(host))
    }

    /// The database system: `postgres` or `mysql`.
    pub fn system(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => "postgres",
            Dialect::Mysql => "mysql",
            Dialect::Sqlite => "sqlite",
        }
    }
}

/// Host and port of one server; `[::1]:5432` too.
fn address(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port =
        port.map_or(Ok(default_port), |port| port.parse().map_err(|_| format!("`{port}` is no port")))?;
    Ok((decode(host)?, port))
}

/// `%41` is `A`: how a password has `@` or `/` in a URL.
fn decode(text: &str) -> Result<String, String> {
    let malformed = || "a `%` is not followed by two hexadecimal digits".to_string();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2).ok_or_else(malformed)?;
            let digits = std::str::from_utf8(digits).map_err(|_| malformed())?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| malformed())?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        write!(f, "{}://{}@{}/{}", self.system(), self.user, hosts.join(","), self.database)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            DatabaseUrl::Server(target) => target.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Target {
        match DatabaseUrl::parse(text).expect("a URL") {
            DatabaseUrl::Server(target) => target,
            DatabaseUrl::Sqlite(path) => panic!("{path:?} is a file"),
        }
    }

    #[test]
    fn a_url_names_hosts_in_order_a_user_and_a_database() {
        let target = server(
            "postgres://purser:p%40ss%2F@db1,db2:6432,[::1]:7/ledger?sslmode=verify-full&prepared=off",
        );
        assert_eq!(target.hosts, [("db1".into(), 5432), ("db2".into(), 6432), ("::1".into(), 7)]);
        assert_eq!((target.user.as_str(), target.password.as_deref()), ("purser", Some("p@ss/")));
        assert_eq!(
            (target.database.as_str(), target.tls, target.keep_prepared),
            ("ledger", Tls::Verified, false)
        );
        assert_eq!(server("mariadb://a@h/d").hosts, [("h".into(), 3306)]);
        assert_eq!(server("postgres://a@h:7/d?host=/run/pg").hosts, [("/run/pg".into(), 7)]);
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{0} {0:?}", server("mysql://purser:hunter2@h/d"));
        assert!(!shown.contains("hunter2") && shown.contains("mysql://purser@h:3306/d"), "{shown}");
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let told = |text: &str| DatabaseUrl::parse(text).expect_err("refused");
        assert!(told("oracle://a@h/d").contains("none of"));
        assert!(told("sqlite:").contains("no file"));
        assert!(told("sqlite://purser.db").contains("without //"));
        assert!(told("sqlite::memory:").contains("in a file"));
        assert!(told("postgres://h/d").contains("no user"));
        assert!(told("postgres://a@h").contains("no database"));
        assert!(told("postgres://a@/d").contains("no host"));
        assert!(told("postgres://a@h:x/d").contains("no port"));
        assert!(told("postgres://a%4@h/d").contains("hexadecimal"));
        assert!(told("postgres://a@h/d?sslmode=prefer").contains("sslmode"));
        assert!(told("postgres://a@h/d?sslrootcert=/ca.pem").contains("verify-full"));
        assert!(server("postgres://a@db/d").is_readable_by_others());
        assert!(!server("postgres://a@db/d?sslmode=require").is_readable_by_others());
        assert!(!server("postgres://a@127.0.0.1,[::1],localhost/d").is_readable_by_others());
        assert!(!server("postgres://a@h/d?host=/run/pg").is_readable_by_others());
    }
}

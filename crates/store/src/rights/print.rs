//! The SQL with which an operator makes the roles: an owner, which migrates, and a runtime role, which serves.

use super::{NEEDED, Right, words};
use crate::dialect::Dialect;
use std::fmt::Write;

/// How the roles and their database are called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoleNames {
    /// The role that owns the tables and migrates.
    pub owner: String,
    /// The role that serves.
    pub runtime: String,
    /// The database, which holds nothing else.
    pub database: String,
}

/// The SQL that makes both roles with exactly their rights, for `postgres` or `mysql`; none for other names. It may be run
/// again at any time. There are no passwords in it.
pub fn print_roles(system: &str, names: &RoleNames) -> Option<String> {
    match system {
        "postgres" => Some(postgres(names)),
        "mysql" => Some(mysql(names)),
        _ => None,
    }
}

/// A user as the database's own statements name it.
pub(super) fn account(dialect: Dialect, role: &str) -> String {
    match dialect {
        Dialect::Mysql => {
            let (name, host) = role.rsplit_once('@').unwrap_or((role, "%"));
            format!("{}@{}", literal(name), literal(host))
        }
        Dialect::Postgres | Dialect::Sqlite => identifier(role),
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn backticked(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn postgres(names: &RoleNames) -> String {
    let (owner, runtime) = (identifier(&names.owner), identifier(&names.runtime));
    let database = identifier(&names.database);
    let mut sql = format!(
        "-- Roles for Purser on PostgreSQL. Run it as a superuser, connected to the database {name}:
--   psql -d {name} -v ON_ERROR_STOP=1 -f roles.sql
-- Run it again after an upgrade that adds tables; it changes nothing that is right already.
-- Then choose passwords, which are not written here: \\password {owner_name} and \\password {runtime_name}
BEGIN;
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {owner_text}) THEN
        CREATE ROLE {owner} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {runtime_text}) THEN
        CREATE ROLE {runtime} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
    END IF;
END $$;

-- Nobody makes anything here but the owner.
REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM PUBLIC, {runtime};
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {owner}, {runtime};
GRANT USAGE, CREATE ON SCHEMA public TO {owner};
REVOKE ALL ON SCHEMA public FROM {runtime};
GRANT USAGE ON SCHEMA public TO {runtime};

-- Tables that a later version adds can be read at once; what else they need, this file gives when it is run again, or
-- `purser migrate` when it knows both roles.
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {runtime};

-- The owner owns what is there, also where another role made it. Before the first migration there is nothing.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        {tables}] LOOP
        IF to_regclass('public.' || name) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE public.%I OWNER TO %I', name, {owner_text});
            EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, %I', name, {runtime_text});
        END IF;
    END LOOP;
    IF to_regproc('public.purser_append_only') IS NOT NULL THEN
        EXECUTE format('ALTER FUNCTION public.purser_append_only() OWNER TO %I', {owner_text});
    END IF;
END $$;

-- What serving needs on each table, and no more: what was recorded cannot be changed.
DO $$
DECLARE
    needed text[];
BEGIN
    FOREACH needed SLICE 1 IN ARRAY ARRAY[
",
        name = names.database,
        owner_name = names.owner,
        runtime_name = names.runtime,
        owner_text = literal_postgres(&names.owner),
        runtime_text = literal_postgres(&names.runtime),
        tables = NEEDED.iter().map(|(table, _)| format!("'{table}'")).collect::<Vec<_>>().join(", "),
    );
    let rows: Vec<String> =
        granted().map(|(table, rights)| format!("        ['{table}', '{}']", words(rights))).collect();
    sql.push_str(&rows.join(",\n"));
    let runtime = literal_postgres(&names.runtime);
    write!(
        sql,
        "] LOOP
        IF to_regclass('public.' || needed[1]) IS NOT NULL THEN
            EXECUTE format('GRANT ' || needed[2] || ' ON public.%I TO %I', needed[1], {runtime});
        END IF;
    END LOOP;
END $$;
COMMIT;
"
    )
    .expect("a text takes whatever is written");
    sql
}

/// Backslashes mean nothing in it.
fn literal_postgres(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn mysql(names: &RoleNames) -> String {
    let (owner, runtime) = (account(Dialect::Mysql, &names.owner), account(Dialect::Mysql, &names.runtime));
    let database = backticked(&names.database);
    // In a grant on a database an underscore stands for any character.
    let pattern = backticked(&names.database.replace('_', "\\_"));
    let mut sql = format!(
        "-- Users for Purser on MariaDB or MySQL. Run the first part as an administrator:
--   mariadb < users.sql
-- Passwords are not written here: ALTER USER {owner} IDENTIFIED BY '...'
CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS {owner};
CREATE USER IF NOT EXISTS {runtime};
GRANT ALL PRIVILEGES ON {pattern}.* TO {owner} WITH GRANT OPTION;
-- Under binary logging the owner makes triggers only where log_bin_trust_function_creators is on, or with SUPER.

-- Tables that a later version adds can be read at once.
GRANT SELECT ON {pattern}.* TO {runtime};

-- What serving needs on each table, and no more: what was recorded cannot be changed. The tables must be there: run this
-- part after `purser migrate`, which grants the same when it knows both users. Rights that were given beyond these stay
-- until they are revoked by hand; `purser doctor` names them.
"
    );
    for (table, rights) in granted() {
        writeln!(sql, "GRANT {} ON {database}.{table} TO {runtime};", words(rights))
            .expect("a text takes whatever is written");
    }
    sql
}

fn granted() -> impl Iterator<Item = (&'static str, &'static [Right])> {
    NEEDED.iter().copied().filter(|(_, rights)| !rights.is_empty())
}

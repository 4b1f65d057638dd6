//! `purser migrate`: brings the database up to this program's schema, or prints the SQL of the roles it wants.
//!
//! Uses `database_owner_url` where it is set, else `database_url`. Any number may run at once, beside running nodes.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use purser_app::database::{self, Migrated};

use super::{CommandError, Context};

/// Arguments of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArguments {
    /// Migrates nothing: prints the SQL that makes an owner role and a role that can serve and no more.
    #[arg(long)]
    print_roles: bool,
    /// The system whose SQL is printed; that of the database's URL unless said.
    #[arg(long, value_enum, requires = "print_roles")]
    system: Option<SystemArgument>,
}

/// A server system.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SystemArgument {
    /// PostgreSQL.
    Postgres,
    /// MariaDB and MySQL.
    Mysql,
}

impl SystemArgument {
    fn name(self) -> &'static str {
        match self {
            SystemArgument::Postgres => "postgres",
            SystemArgument::Mysql => "mysql",
        }
    }
}

/// Migrates or prints.
pub async fn run(context: Context, arguments: MigrateArguments) -> Result<ExitCode, CommandError> {
    let settings = context.config.app.clone();
    if arguments.print_roles {
        let sql = database::print_roles(&settings, arguments.system.map(SystemArgument::name))?;
        context.print(&serde_json::json!({ "sql": sql }), |_| sql.trim_end().to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let migrated = tokio::task::spawn_blocking(move || database::migrate(&settings)).await??;
    let Migrated { applied, schema, granted } = &migrated;
    let answer = serde_json::json!({ "applied": applied, "schema": schema, "granted": granted });
    context.print(&answer, |_| sentence(&migrated))?;
    Ok(ExitCode::SUCCESS)
}

fn sentence(Migrated { applied, schema, granted }: &Migrated) -> String {
    let numbers: Vec<String> = applied.iter().map(ToString::to_string).collect();
    let mut said = match numbers.as_slice() {
        [] => format!("There is nothing to do: the database has schema {schema}."),
        [one] => format!("Applied migration {one}: the database has schema {schema}."),
        more => format!("Applied migrations {}: the database has schema {schema}.", more.join(", ")),
    };
    if let Some(role) = granted {
        said.push_str(&format!("\nGranted {role} what it needs to serve."));
    }
    said
}

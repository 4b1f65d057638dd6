//! Makes a dump of a small real ledger in the schema of this program, as SQL text: what upgrade tests of later versions start
//! from.
//!
//! `cargo xtask fixtures` runs it for every system. By hand, on an empty database:
//! `cargo run -p purser-server --example fixture -- URL > crates/store/tests/fixtures/schema-N.SYSTEM.sql`

#[path = "../tests/crash/client.rs"]
#[allow(dead_code, reason = "the tests ask it for more")]
mod client;
#[path = "../tests/servers/flow.rs"]
#[allow(dead_code, reason = "the tests ask it for more")]
mod flow;

use std::fmt::Write;

use flow::Flow;
use purser_app::App;
use purser_app::boot::Settings;
use purser_app::caller::Scope;
use purser_app::database::{self, Console, DatabaseUrl, rendered_schema};
use purser_app::usecase::api_key;
use purser_server::http::{listen, router};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the flow's users and actions are named after.
const RUN: &str = "fixture";
/// Tables to which the schema itself adds rows; the dump has them as they became.
const SEEDED: [&str; 5] = ["meta", "slot", "config_epoch", "fold", "unit"];
/// Which migrations were applied, as the library that applies them keeps it.
const HISTORY: &str = "CREATE TABLE refinery_schema_history (
    version INT NOT NULL PRIMARY KEY,
    name VARCHAR(255),
    applied_on VARCHAR(255),
    checksum VARCHAR(255)
)";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("name the URL of an empty database")?;
    let mut settings = Settings::new(&url);
    // Known to everybody: the ledger is one for tests.
    settings.secret_keys = vec!["0a".repeat(32)];
    let migrating = settings.clone();
    tokio::task::spawn_blocking(move || database::migrate(&migrating)).await??;
    make(settings).await?;
    print!("{}", tokio::task::spawn_blocking(move || dump(&url)).await??);
    Ok(())
}

/// Serves the database and has everything happen on it once.
async fn make(settings: Settings) -> Result<(), Failure> {
    let app = App::open(settings).await?;
    let key = api_key::create(&app, RUN, Scope::Write, None).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = router::router(app.clone());
    let serving = tokio::spawn(listen::serve(listener, routes, 100, async { drop(stopped.await) }));
    tokio::task::spawn_blocking(move || {
        let mut flow = Flow::new(address, &key, RUN);
        flow.all();
        eprintln!("{} is left of what was bought", flow.available());
    })
    .await?;
    drop(stop);
    serving.await?;
    app.shutdown().await;
    Ok(())
}

fn dump(url: &str) -> Result<String, Failure> {
    let database = DatabaseUrl::parse(url)?;
    let system = match &database {
        DatabaseUrl::Sqlite(_) => "sqlite",
        DatabaseUrl::Server(target) => target.system(),
    };
    let console = Console::connect(&database)?;
    let schema = rendered_schema(system).ok_or("a known system")?;
    let mut sql = format!(
        "-- A ledger for upgrade tests, made by `cargo xtask fixtures`. Never edited.\n{schema}\n{HISTORY};\n"
    );
    for table in SEEDED {
        writeln!(sql, "DELETE FROM {table};")?;
    }
    for table in console.texts(&tables(system))? {
        // Padded where a name has a fixed width.
        let table = table.trim();
        let columns = console.texts(&columns(system, table))?;
        let literals: Vec<String> = columns.iter().map(|column| literal(system, column)).collect();
        let names: Vec<&str> = columns.iter().map(|column| name(column)).collect();
        let joined = match system {
            "mysql" => format!("CONCAT({})", literals.join(", ', ', ")),
            _ => literals.join(" || ', ' || "),
        };
        let rows = console.texts(&format!("SELECT {joined} FROM {table} ORDER BY 1"))?;
        for row in rows {
            writeln!(sql, "INSERT INTO {table} ({}) VALUES ({row});", names.join(", "))?;
        }
    }
    Ok(sql)
}

fn tables(system: &str) -> String {
    match system {
        "sqlite" => "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name".to_owned(),
        _ => format!(
            "SELECT CAST(table_name AS CHAR(64)) FROM information_schema.tables
              WHERE table_schema = {} AND table_name <> 'migration_lock' ORDER BY table_name",
            if system == "mysql" { "DATABASE()" } else { "current_schema()" }
        ),
    }
}

/// Name and type of each column, in their order.
fn columns(system: &str, table: &str) -> String {
    match system {
        "sqlite" => format!("SELECT name || ' ' || type FROM pragma_table_info('{table}') ORDER BY cid"),
        "mysql" => format!(
            "SELECT CONCAT(column_name, ' ', data_type) FROM information_schema.columns
              WHERE table_schema = DATABASE() AND table_name = '{table}' ORDER BY ordinal_position"
        ),
        _ => format!(
            "SELECT column_name || ' ' || data_type FROM information_schema.columns
              WHERE table_schema = current_schema() AND table_name = '{table}' ORDER BY ordinal_position"
        ),
    }
}

fn name(column: &str) -> &str {
    column.split(' ').next().unwrap_or(column)
}

/// An expression that has the database write a value of this column as a literal.
fn literal(system: &str, column: &str) -> String {
    let name = name(column);
    match system {
        "sqlite" => format!("quote({name})"),
        // Bytes, and texts that mean bytes, in hexadecimal.
        "mysql" if column.contains("binary") || column.contains("blob") => {
            format!("IF({name} IS NULL, 'NULL', CONCAT('X''', HEX({name}), ''''))")
        }
        "mysql" if column.contains("int") => format!("IFNULL(CAST({name} AS CHAR(20)), 'NULL')"),
        "mysql" => format!("QUOTE({name})"),
        _ if column.contains("int") => format!("coalesce(CAST({name} AS TEXT), 'NULL')"),
        _ => format!("quote_nullable({name})"),
    }
}

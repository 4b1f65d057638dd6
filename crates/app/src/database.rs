//! What an operator does with a database beside serving it: migrates it, asks for its roles, has it looked at.
//!
//! Nothing here starts an engine or leases a slot, so all of it works beside running nodes.

use crate::boot::{BootError, Settings};
use crate::clock::{Clock, SystemClock, SystemRandom};
use crate::secret::Secrets;
use crate::usecase::api_key::{KeyView, views};
use purser_store::{RoleNames, Store, StoreError, Target};

pub use purser_store::{Check, Console, DatabaseUrl, Migrated, Verdict, rendered_schema};

/// What the roles are called where no setting says otherwise.
const OWNER: &str = "purser_owner";
const RUNTIME: &str = "purser_runtime";
const DATABASE: &str = "purser";

/// Brings the database up to this program's schema, with the owner's URL where one is set. The runtime user is granted what
/// it lacks.
///
/// # Errors
/// Names what keeps the database from being migrated.
pub fn migrate(settings: &Settings) -> Result<Migrated, BootError> {
    let database = settings.database()?;
    let refusal = |error: StoreError| refusal(&database, &error);
    match (&database, settings.owner()?) {
        (DatabaseUrl::Sqlite(path), _) => purser_store::migrate_file(path).map_err(refusal),
        (DatabaseUrl::Server(target), None) => {
            purser_store::migrate_server_for(target, None).map_err(|error| match error {
                StoreError::Denied { what } => refusal(StoreError::Denied {
                    what: format!(
                        "{what}; set database_owner_url to the URL of a user that may change the schema"
                    ),
                }),
                error => refusal(error),
            })
        }
        (DatabaseUrl::Server(target), Some(owner)) => {
            refuse_another_system(target, &owner)?;
            purser_store::migrate_server_for(&owner, Some(target)).map_err(refusal)
        }
    }
}

fn refuse_another_system(target: &Target, owner: &Target) -> Result<(), BootError> {
    if target.system() == owner.system() {
        return Ok(());
    }
    let why = format!("it is a {} database and database_url a {} one", owner.system(), target.system());
    Err(BootError::Setting { setting: "database_owner_url", why })
}

/// The SQL that makes an owner role and a runtime role, for `system` or the one the settings name. Roles and database are
/// called as in the URLs where both are set.
///
/// # Errors
/// Neither names a server.
pub fn print_roles(settings: &Settings, system: Option<&str>) -> Result<String, BootError> {
    let target = match settings.database()? {
        DatabaseUrl::Server(target) => Some(target),
        DatabaseUrl::Sqlite(_) => None,
    };
    let system = system.or(target.as_ref().map(Target::system)).ok_or_else(|| BootError::Setting {
        setting: "database_url",
        why: "an embedded database has no roles; say --system postgres or --system mysql".into(),
    })?;
    let target = target.filter(|target| target.system() == system);
    let owner = settings.owner()?.filter(|owner| owner.system() == system);
    let named =
        |of: Option<&Target>, otherwise: &str| of.map_or(otherwise.to_owned(), |of| of.user().to_owned());
    let names = RoleNames {
        database: target.as_ref().map_or(DATABASE.to_owned(), |target| target.database().to_owned()),
        // One URL alone may be anybody's, an administrator's for example.
        runtime: named(target.as_ref().filter(|_| owner.is_some()), RUNTIME),
        owner: named(owner.as_ref(), OWNER),
    };
    if names.owner == names.runtime {
        let why = "it has the same user as database_url: the roles are two".into();
        return Err(BootError::Setting { setting: "database_owner_url", why });
    }
    purser_store::print_roles(system, &names).ok_or_else(|| BootError::Setting {
        setting: "system",
        why: format!("`{system}` is none of postgres, mysql"),
    })
}

/// All API keys, read without anything that writes.
///
/// # Errors
/// The database cannot be read.
pub fn api_keys(settings: &Settings) -> Result<Vec<KeyView>, BootError> {
    let database = settings.database()?;
    let rows = Store::open_reader(&database).and_then(|store| store.read(|reader| reader.api_keys()));
    rows.map(views).map_err(|error| refusal(&database, &error))
}

/// Looks at a database for `doctor`: at all of a server, at the triggers of an embedded one, whose server says the rest.
/// Changes nothing.
///
/// # Errors
/// A setting cannot be used, or a file cannot be read.
pub fn inspect(settings: &Settings) -> Result<Vec<Check>, BootError> {
    let database = settings.database()?;
    let target = match &database {
        DatabaseUrl::Server(target) => target,
        DatabaseUrl::Sqlite(path) => {
            let looked = purser_store::inspect_file(path);
            return looked.map(|check| vec![check]).map_err(|error| refusal(&database, &error));
        }
    };
    let owner = settings.owner()?;
    let clock = SystemClock::default();
    let inspection = purser_store::inspect(target, owner.as_ref(), || clock.wall());
    let mut checks = inspection.checks;
    checks.push(secret_key(settings, inspection.secret_fingerprint));
    Ok(checks)
}

fn secret_key(settings: &Settings, fingerprint: Option<u64>) -> Check {
    let check = |verdict, detail: String| Check { what: "secret_key", verdict, detail };
    match Secrets::load(&settings.secret_keys, None, false, &SystemRandom::default()) {
        Err(BootError::Setting { why, .. }) => check(Verdict::Wrong, why),
        Err(error) => check(Verdict::Wrong, error.to_string()),
        Ok(secrets) => match fingerprint.map(|known| secrets.know(known)) {
            Some(true) => check(Verdict::Fine, "the one this database is served with".into()),
            None => check(Verdict::Fine, "set".into()),
            Some(false) => check(Verdict::Wrong, "it is not the key this database was served with".into()),
        },
    }
}

fn refusal(database: &DatabaseUrl, error: &StoreError) -> BootError {
    BootError::Database {
        what: format!("{database}: {error}"),
        locked: matches!(error, StoreError::Locked { .. }),
    }
}

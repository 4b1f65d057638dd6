//! From plain settings to a running [`App`]: the only place that picks implementations.

use crate::clock::{Clock, Ids, Random, SafeClock, SystemClock, SystemRandom};
use crate::config::{Config, SharedConfig};
use crate::engine::{Behind, BehindParts, Engine, Funnel, FunnelParts, Live};
use crate::history::History;
use crate::names::NameCache;
use crate::rate::Rate;
use crate::refusals::Refusals;
use crate::secret::Secrets;
use crate::watch::Watchers;
use crate::{App, Inner};
use purser_core::time::SECOND;
use purser_store::hint::{DEADLINE, Hints, RedisOptions};
use purser_store::{CommitError, DatabaseUrl, Keeper, OpenOptions, Store, StoreError, Target, Writer};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

/// What the URL of a database says, without the password in it.
pub mod database {
    use purser_store::DatabaseUrl;
    pub use purser_store::ScratchDatabase;

    /// The URL as it may be shown. One that cannot be read is not shown at all: it may have a password anywhere.
    pub fn shown(url: &str) -> String {
        DatabaseUrl::parse(url).map_or_else(|_| "(set, not understood)".to_string(), |url| url.to_string())
    }
}

/// Plain settings of a node.
#[derive(Clone)]
pub struct Settings {
    /// `sqlite:PATH`, `postgres://…` or `mysql://…`.
    pub database_url: String,
    /// The same database under a user that may change its schema; a server is migrated on start where this is set.
    pub owner_url: Option<String>,
    /// The secret key in hexadecimal (32 bytes or more), newest first; when empty, SQLite keeps one beside the file.
    pub secret_keys: Vec<String>,
    /// Where no key is set, one that is forgotten when the node ends, and of which the database remembers nothing: for what
    /// signs nothing that lasts.
    pub passing_secret: bool,
    /// How many commands may wait; when full, callers get 503.
    pub queue_max: usize,
    /// How many commands one transaction takes at the most.
    pub batch_max: usize,
    /// A command that waited longer than this is not executed.
    pub deadline: Duration,
    /// How many connections read at the same time.
    pub readers: usize,
    /// How long answers to idempotency keys are kept.
    pub keep_keys: Duration,
    /// How many writers share the tenants on a server database. An embedded one has one.
    pub writers: usize,
    /// The Redis through which nodes share hints; without one, each has its own.
    pub redis_url: Option<String>,
    /// How often one API key may call; unlimited when none.
    pub rate_limit: Option<Rate>,
    /// How many live balances may be streamed at the same time.
    pub streams_max: usize,
    /// What links to pages of this service begin with, such as `https://credits.example.com`; no slash at the end.
    pub public_url: String,
    /// The sites that a page may lead back to, as scheme, host and port in lower case.
    pub return_origins: Vec<String>,
}

impl std::fmt::Debug for Settings {
    /// Passwords and secrets are left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("database_url", &database::shown(&self.database_url))
            .field("owner_url", &self.owner_url.as_deref().map(database::shown))
            .field("secret_keys", &self.secret_keys.len())
            .field("passing_secret", &self.passing_secret)
            .field("queue_max", &self.queue_max)
            .field("batch_max", &self.batch_max)
            .field("deadline", &self.deadline)
            .field("readers", &self.readers)
            .field("keep_keys", &self.keep_keys)
            .field("writers", &self.writers)
            .field("redis_url", &self.redis_url.is_some())
            .field("rate_limit", &self.rate_limit)
            .field("streams_max", &self.streams_max)
            .field("public_url", &self.public_url)
            .field("return_origins", &self.return_origins)
            .finish()
    }
}

impl Settings {
    /// The defaults for this database.
    pub fn new(database_url: impl Into<String>) -> Settings {
        Settings {
            database_url: database_url.into(),
            owner_url: None,
            secret_keys: Vec::new(),
            passing_secret: false,
            queue_max: 8_192,
            batch_max: 1_000,
            deadline: Duration::from_secs(10),
            readers: 4,
            keep_keys: Duration::from_secs(90 * 86_400),
            writers: 1,
            redis_url: None,
            rate_limit: None,
            streams_max: 1_000,
            public_url: "http://127.0.0.1:8080".to_string(),
            return_origins: Vec::new(),
        }
    }

    /// The file of an embedded database, if it is one.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        match self.database() {
            Ok(DatabaseUrl::Sqlite(path)) => Some(path),
            Ok(DatabaseUrl::Server(_)) | Err(_) => None,
        }
    }

    /// Where the database is.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn database(&self) -> Result<DatabaseUrl, BootError> {
        DatabaseUrl::parse(&self.database_url)
            .map_err(|why| BootError::Setting { setting: "database_url", why })
    }

    /// The database under its owner's user, where one is set.
    ///
    /// # Errors
    /// The URL cannot be read, or is no server's.
    pub fn owner(&self) -> Result<Option<Target>, BootError> {
        let refused = |why: String| BootError::Setting { setting: "owner_url", why };
        match self.owner_url.as_deref().map(DatabaseUrl::parse).transpose().map_err(refused)? {
            None => Ok(None),
            Some(DatabaseUrl::Server(target)) => Ok(Some(target)),
            Some(DatabaseUrl::Sqlite(_)) => Err(refused("an embedded database has no owner".into())),
        }
    }
}

/// Why a node does not start. Each names what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A setting cannot be used.
    #[error("{setting}: {why}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The database refuses: read-only, locked by another process, damaged, newer than this program.
    #[error("{what}")]
    Database {
        /// What it said, and which database.
        what: String,
        /// Whether another process has it; it may come free.
        locked: bool,
    },
    /// The clock is behind the ledger.
    #[error(
        "the clock is {behind_seconds} s behind the last entry of the ledger; set it right before starting"
    )]
    ClockBehind {
        /// By how much.
        behind_seconds: i64,
    },
}

/// How far the clock may be behind the last entry when the service starts, in microseconds.
const BEHIND_MAX: i64 = 60 * SECOND;

impl App {
    /// Opens the database (making and migrating it where needed) and starts the engine.
    ///
    /// # Errors
    /// Names what keeps the node from starting, and what to do about it.
    pub async fn open(settings: Settings) -> Result<App, BootError> {
        App::open_with(settings, Arc::new(SystemClock::default()), Arc::new(SystemRandom::default())).await
    }

    /// The same with another clock and other random numbers.
    pub async fn open_with(
        settings: Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<App, BootError> {
        let opened = tokio::task::spawn_blocking(move || open(settings, clock, random)).await;
        let app =
            opened.map_err(|error| BootError::Database { what: error.to_string(), locked: false })??;
        app.keep_writing_refusals();
        Ok(app)
    }
}

fn open(settings: Settings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<App, BootError> {
    if settings.queue_max == 0 || settings.batch_max == 0 || settings.readers == 0 || settings.writers == 0 {
        return Err(BootError::Setting {
            setting: "engine",
            why: "queue, batch, readers and writers must be at least 1".into(),
        });
    }
    let clock = SafeClock::new(clock);
    let database = settings.database()?;
    let refusal = |error: StoreError| BootError::Database {
        locked: is_locked(&error),
        what: format!("{database}: {error}"),
    };
    let Opened { store, mut writers, mut keeper, beside } = open_database(&settings, &database)?;
    let secrets = if settings.passing_secret && settings.secret_keys.is_empty() {
        Secrets::passing(&*random)
    } else {
        let served =
            writers[0].begin().and_then(|batch| batch.secret_fingerprint()).map_err(refusal)?.is_some();
        let secrets = Secrets::load(&settings.secret_keys, beside.as_deref(), served, &*random)?;
        secrets.check(&mut writers[0])?;
        secrets
    };
    let ids = Ids::new(clock.clone(), random.clone());
    let ledger_id = ledger_id(&mut writers[0], &ids).map_err(refusal)?;
    for writer in &mut writers {
        let recovered = writer.recover().map_err(refusal)?;
        if recovered.entries > 0 {
            tracing::info!(
                entries = recovered.entries,
                wallets = recovered.wallets,
                "brought rows up to the ledger"
            );
        }
    }
    let last = store.read(|reader| reader.last_recorded_at()).map_err(refusal)?;
    let behind = last.map_or(0, |last| last.0 - clock.wall().0);
    if behind > BEHIND_MAX {
        return Err(BootError::ClockBehind { behind_seconds: behind / SECOND });
    }
    if let Some(keeper) = &mut keeper {
        // Before the first command: what a clock set wrong writes before it is compared cannot be taken back.
        let before = clock.wall();
        let observed = keeper.observe().map_err(refusal)?;
        clock.compare(before, observed.now, clock.wall());
    }
    let config = SharedConfig::default();
    config.set(Config::new(store.read(|reader| reader.config()).map_err(refusal)?));
    let live = Live::default();
    let keep_keys = settings.keep_keys;
    let hints = hints(&settings, &secrets, &*random)?;
    let funnel = |writer: Writer| {
        let funnel = Funnel::new(FunnelParts {
            store: store.clone(),
            writer,
            live: live.clone(),
            config: config.clone(),
            clock: clock.clone(),
            deadline: settings.deadline,
            keep_keys,
        });
        funnel.announcing(hints.clone())
    };
    let funnels = writers.into_iter().map(funnel).collect();
    let behind = keeper.map(|keeper| {
        let (store, config, clock) = (store.clone(), config.clone(), clock.clone());
        Behind::start(BehindParts { keeper, store, config, clock, keep_keys })
    });
    let engine = Engine::start(funnels, behind, clock.clone(), settings.queue_max, settings.batch_max);
    let names = NameCache::default();
    let watchers = Watchers::new(settings.streams_max);
    let looked_at = AtomicI64::new(i64::MIN / 2);
    let inner = Inner {
        settings,
        store,
        engine,
        live,
        config,
        names,
        clock,
        ids,
        secrets,
        ledger_id,
        hints,
        watchers,
        refusals: Refusals::default(),
        looked_at,
        rehearsals: tokio::sync::Semaphore::new(1),
        history: History::default(),
    };
    Ok(App { inner: Arc::new(inner) })
}

/// How often the number of a database is looked for while other nodes give it one.
const LOOKS_MAX: usize = 8;

/// The number of this database, which the first start gives it.
fn ledger_id(writer: &mut Writer, ids: &Ids) -> Result<u64, StoreError> {
    for _ in 0..LOOKS_MAX {
        let mut batch = writer.begin()?;
        if let Some(id) = batch.ledger_id()? {
            return Ok(id);
        }
        let given = batch.set_ledger_id(ids.number()).and_then(|()| match batch.commit() {
            Ok(()) => Ok(()),
            Err(CommitError::Failed(error) | CommitError::Unknown(error)) => Err(error),
        });
        match given {
            // Another node was first, or this one: the next look says what the number is.
            Ok(()) | Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Busy)
}

/// The hints of this node. What its deployment is called in Redis follows from the secret key, which its nodes share.
fn hints(settings: &Settings, secrets: &Secrets, random: &dyn Random) -> Result<Hints, BootError> {
    let redis = settings.redis_url.as_ref().map(|url| {
        let name = secrets.derive("hints").next().expect("there is at least one key");
        let mut node = [0; 8];
        random.fill(&mut node);
        RedisOptions {
            url: url.clone(),
            deployment: name[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
            node: u64::from_be_bytes(node),
            deadline: DEADLINE,
        }
    });
    // This runs on a thread of the runtime's own.
    Hints::start(redis, &tokio::runtime::Handle::current())
        .map_err(|error| BootError::Setting { setting: "redis_url", why: error.to_string() })
}

/// A database that is ready.
struct Opened {
    store: Store,
    writers: Vec<Writer>,
    keeper: Option<Keeper>,
    /// Where an embedded database may keep its secret.
    beside: Option<PathBuf>,
}

fn open_database(settings: &Settings, database: &DatabaseUrl) -> Result<Opened, BootError> {
    let refusal = |error: StoreError| BootError::Database {
        locked: is_locked(&error),
        what: format!("{database}: {error}"),
    };
    let options = OpenOptions { readers: settings.readers, ..OpenOptions::default() };
    match database {
        DatabaseUrl::Sqlite(path) => {
            // Ours has tables before it has a secret: it was emptied since.
            let is_emptied = path.metadata().is_ok_and(|file| file.len() == 0);
            if is_emptied && crate::secret::path_beside(path).exists() {
                let what = format!(
                    "{database} is an empty file, and there is a secret that was made for a ledger in it: restore it \
                     from a backup, or remove both to begin anew"
                );
                return Err(BootError::Database { what, locked: false });
            }
            let (store, writer) = Store::open(path, &options).map_err(refusal)?;
            Ok(Opened { store, writers: vec![writer], keeper: None, beside: Some(path.clone()) })
        }
        DatabaseUrl::Server(target) => {
            if let Some(owner) = settings.owner()? {
                let migrated = purser_store::migrate_server_for(&owner, Some(target)).map_err(refusal)?;
                if !migrated.applied.is_empty() {
                    tracing::info!(applied = ?migrated.applied, "migrated the database");
                }
            }
            let (store, writers, keeper) =
                Store::connect(target, &options, settings.writers).map_err(refusal)?;
            Ok(Opened { store, writers, keeper: Some(keeper), beside: None })
        }
    }
}

fn is_locked(error: &StoreError) -> bool {
    matches!(error, StoreError::Locked { .. })
}

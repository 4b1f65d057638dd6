//! From plain settings to a running [`App`]: the only place that picks implementations.

use crate::clock::{Clock, Ids, Random, SafeClock, SystemClock, SystemRandom};
use crate::config::{Config, SharedConfig};
use crate::engine::{Engine, Funnel, FunnelParts, Live};
use crate::names::NameCache;
use crate::rate::Rate;
use crate::secret::Secrets;
use crate::watch::Watchers;
use crate::{App, Inner};
use purser_core::time::SECOND;
use purser_store::hint::{DEADLINE, Hints, RedisOptions};
use purser_store::{OpenOptions, Store, StoreError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Plain settings of a node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `sqlite:PATH`
    pub database_url: String,
    /// The secret key in hexadecimal (32 bytes or more), newest first; when empty, SQLite keeps one beside the file.
    pub secret_keys: Vec<String>,
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
    /// The Redis through which nodes share hints; without one, each has its own.
    pub redis_url: Option<String>,
    /// How often one API key may call; unlimited when none.
    pub rate_limit: Option<Rate>,
    /// How many live balances may be streamed at the same time.
    pub streams_max: usize,
}

impl Settings {
    /// The defaults for this database.
    pub fn new(database_url: impl Into<String>) -> Settings {
        Settings {
            database_url: database_url.into(),
            secret_keys: Vec::new(),
            queue_max: 8_192,
            batch_max: 1_000,
            deadline: Duration::from_secs(10),
            readers: 4,
            keep_keys: Duration::from_secs(90 * 86_400),
            redis_url: None,
            rate_limit: None,
            streams_max: 1_000,
        }
    }

    /// The file of an embedded database, if it is one.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        self.database_url.strip_prefix("sqlite:").map(PathBuf::from)
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
    #[error("{0}")]
    Database(String),
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
        opened.map_err(|error| BootError::Database(error.to_string()))?
    }
}

fn open(settings: Settings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<App, BootError> {
    let path = settings.sqlite_path().filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| {
        BootError::Setting {
            setting: "database_url",
            why: format!("`{}` is not `sqlite:PATH`", settings.database_url),
        }
    })?;
    if settings.queue_max == 0 || settings.batch_max == 0 || settings.readers == 0 {
        return Err(BootError::Setting {
            setting: "engine",
            why: "queue, batch and readers must be at least 1".into(),
        });
    }
    let clock = SafeClock::new(clock);
    let (store, mut writer) =
        Store::open(&path, &OpenOptions { readers: settings.readers, ..OpenOptions::default() })
            .map_err(|error| refusal(&path, &error))?;
    let secrets = Secrets::load(&settings.secret_keys, &path, &*random)?;
    secrets.check(&mut writer)?;
    let recovered = writer.recover().map_err(|error| refusal(&path, &error))?;
    if recovered.entries > 0 {
        tracing::info!(
            entries = recovered.entries,
            wallets = recovered.wallets,
            "brought rows up to the ledger"
        );
    }
    let last = store.read(|reader| reader.last_recorded_at()).map_err(|error| refusal(&path, &error))?;
    let behind = last.map_or(0, |last| last.0 - clock.wall().0);
    if behind > BEHIND_MAX {
        return Err(BootError::ClockBehind { behind_seconds: behind / SECOND });
    }
    let config = SharedConfig::default();
    config.set(Config::new(store.read(|reader| reader.config()).map_err(|error| refusal(&path, &error))?));
    let live = Live::default();
    let hints = hints(&settings, &secrets, &*random)?;
    let funnel = Funnel::new(FunnelParts {
        store: store.clone(),
        writer,
        live: live.clone(),
        config: config.clone(),
        clock: clock.clone(),
        deadline: settings.deadline,
        keep_keys: settings.keep_keys,
    });
    let engine = Engine::start(
        funnel.announcing(hints.clone()),
        clock.clone(),
        settings.queue_max,
        settings.batch_max,
    );
    let ids = Ids::new(clock.clone(), random);
    let names = NameCache::default();
    let watchers = Watchers::new(settings.streams_max);
    let inner = Inner { settings, store, engine, live, config, names, clock, ids, secrets, hints, watchers };
    Ok(App { inner: Arc::new(inner) })
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

fn refusal(path: &std::path::Path, error: &StoreError) -> BootError {
    BootError::Database(format!("{}: {error}", path.display()))
}

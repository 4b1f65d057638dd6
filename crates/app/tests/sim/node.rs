//! One node: the funnel on its database, its clocks, and the ways in which both can end.
//!
//! It mirrors what a node knows beside the ledger: which time it believes, which fault waits for its next commit.

use super::rng::Rng;
use purser_app::clock::{ManualClock, SafeClock};
use purser_app::config::{Config, SharedConfig};
use purser_app::engine::{Funnel, FunnelParts, Live};
use purser_core::Timestamp;
use purser_store::{CommitFault, OpenOptions, Store};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A wall clock that moved further than this is not believed.
const JUMP_MAX: i64 = 5_000_000;

/// How a node is configured for one seed.
#[derive(Clone)]
pub struct Habits {
    pub options: OpenOptions,
    pub deadline: Duration,
    pub keep_keys: Duration,
}

/// What is left when a process ends without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process ends; its files are closed by the system.
    Ended,
    /// The files as they lay on the disk, log and all.
    Files,
    /// The same, with the torn beginning of a further record at the end of the log.
    Torn,
}

/// A running node.
pub struct Node {
    home: TempDir,
    habits: Habits,
    folders: u32,
    path: PathBuf,
    pub funnel: Funnel,
    pub store: Store,
    pub live: Live,
    clock: Arc<ManualClock>,
    wall: i64,
    monotonic: i64,
    /// Wall clock minus monotonic clock, when both were last believed.
    offset: i64,
    /// The fault that waits for the next commit.
    pub armed: Option<CommitFault>,
}

/// The funnel and what shares its database.
struct Opened {
    funnel: Funnel,
    store: Store,
    live: Live,
    recovered: u64,
}

fn open(path: &Path, habits: &Habits, clock: Arc<ManualClock>) -> Opened {
    let (store, mut writer) = Store::open(path, &habits.options).expect("the database opens");
    let recovered = writer.recover().expect("the rows are brought up to the ledger").entries;
    let config = SharedConfig::default();
    config.set(Config::new(store.read(|reader| reader.config()).expect("the configuration is read")));
    let live = Live::default();
    let funnel = Funnel::new(FunnelParts {
        store: store.clone(),
        writer,
        live: live.clone(),
        config,
        clock: SafeClock::new(clock),
        deadline: habits.deadline,
        keep_keys: habits.keep_keys,
    });
    Opened { funnel, store, live, recovered }
}

fn temporary() -> TempDir {
    // Memory where there is some: thousands of commits wait for the disk otherwise.
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

impl Node {
    /// A node on a new database.
    pub fn new(habits: Habits, wall: i64) -> Node {
        let home = temporary();
        let path = home.path().join("purser.db");
        let clock = Arc::new(ManualClock::at(Timestamp(wall)));
        let Opened { funnel, store, live, .. } = open(&path, &habits, clock.clone());
        let folders = 0;
        Node {
            home,
            habits,
            folders,
            path,
            funnel,
            store,
            live,
            clock,
            wall,
            monotonic: 0,
            offset: wall,
            armed: None,
        }
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The wall clock, believed or not.
    pub fn wall(&self) -> i64 {
        self.wall
    }

    /// The monotonic clock.
    pub fn monotonic(&self) -> i64 {
        self.monotonic
    }

    /// The longest that a command may wait, in microseconds.
    pub fn deadline(&self) -> i64 {
        self.habits.deadline.as_micros() as i64
    }

    /// How long answers are kept, in microseconds.
    pub fn keep_keys(&self) -> i64 {
        self.habits.keep_keys.as_micros() as i64
    }

    /// Time passes.
    pub fn advance(&mut self, micros: i64) {
        self.clock.advance(micros);
        self.wall += micros;
        self.monotonic += micros;
    }

    /// Somebody sets the wall clock.
    pub fn jump(&mut self, micros: i64) {
        self.clock.jump(micros);
        self.wall += micros;
    }

    /// Whether the wall clock can be believed.
    pub fn is_safe(&self) -> bool {
        (self.wall - self.monotonic - self.offset).abs() <= JUMP_MAX
    }

    /// How far the wall clock is from the one that would be believed most.
    pub fn jumped(&self) -> i64 {
        self.wall - self.monotonic - self.offset
    }

    /// The time as a node tells it when it is about to work; none after a jump.
    pub fn believe(&mut self) -> Option<i64> {
        if !self.is_safe() {
            return None;
        }
        self.offset = self.wall - self.monotonic;
        Some(self.wall)
    }

    /// The next commit fails in this way.
    pub fn arm(&mut self, fault: CommitFault) {
        self.funnel.writer().fail_next_commit(fault);
        self.armed = Some(fault);
    }

    /// Ends in order and starts again, `drift` microseconds off; how many entries had to be replayed. A commit that is
    /// made to fail may keep it from saving everything first.
    pub fn restart(self, drift: i64) -> (Node, u64) {
        let Node { home, habits, folders, path, funnel, wall, store, armed, .. } = self;
        drop(store);
        let closed = funnel.close();
        assert!(closed.is_ok() || armed.is_some(), "the database does not close: {closed:?}");
        let (node, recovered) = Node::start(home, habits, folders, path, wall + drift);
        assert!(recovered == 0 || closed.is_err(), "{recovered} entries to recover after a clean end");
        (node, recovered)
    }

    /// Ends without being asked and starts again.
    pub fn crash(self, crash: Crash, rng: &mut Rng, drift: i64) -> (Node, u64) {
        let Node { home, habits, mut folders, mut path, funnel, wall, store, .. } = self;
        if crash != Crash::Ended {
            folders += 1;
            let folder = home.path().join(folders.to_string());
            fs::create_dir(&folder).expect("a folder");
            let copy = folder.join("purser.db");
            copy_files(&path, &copy);
            if crash == Crash::Torn {
                tear(&copy, rng);
            }
            path = copy;
        }
        drop(funnel);
        drop(store);
        Node::start(home, habits, folders, path, wall + drift)
    }

    fn start(home: TempDir, habits: Habits, folders: u32, path: PathBuf, wall: i64) -> (Node, u64) {
        let clock = Arc::new(ManualClock::at(Timestamp(wall)));
        let Opened { funnel, store, live, recovered } = open(&path, &habits, clock.clone());
        let (monotonic, offset, armed) = (0, wall, None);
        let node =
            Node { home, habits, folders, path, funnel, store, live, clock, wall, monotonic, offset, armed };
        (node, recovered)
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Copies the database and its log, as a power cut leaves them.
fn copy_files(from: &Path, to: &Path) {
    fs::copy(from, to).expect("the database is copied");
    if beside(from, "-wal").exists() {
        fs::copy(beside(from, "-wal"), beside(to, "-wal")).expect("the log is copied");
    }
}

/// Writes the beginning of a record that was never finished to the end of the log.
fn tear(path: &Path, rng: &mut Rng) {
    let log = beside(path, "-wal");
    if log.exists() {
        let noise: Vec<u8> = (0..rng.range(1, 9_000)).map(|_| rng.number() as u8).collect();
        let mut file = fs::File::options().append(true).open(log).expect("the log opens");
        file.write_all(&noise).expect("the log is written");
    }
}

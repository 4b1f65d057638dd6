//! One node: the funnel on its database, its clocks, and the ways in which both can end.
//!
//! It mirrors what a node knows beside the ledger: which time it believes, which fault waits for its next commit.

use super::rng::Rng;
use crate::databases::Kind;
use crate::relay::{Cut, Relay};
use purser_app::clock::{ManualClock, SafeClock};
use purser_app::config::{Config, SharedConfig};
use purser_app::engine::{Funnel, FunnelParts, Live};
use purser_core::Timestamp;
use purser_store::{
    CommitFault, DatabaseUrl, Keeper, OpenOptions, ScratchDatabase, Store, StoreError, Target,
};
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
    /// The process ends; its files and connections are closed by the system.
    Ended,
    /// The files as they lay on the disk, log and all.
    Files,
    /// The same, with the torn beginning of a further record at the end of the log.
    Torn,
}

/// Where a node's database is.
enum Place {
    /// A file, in a folder that changes when the files are left as they lay.
    Folder { home: TempDir, folders: u32, path: PathBuf },
    /// On a server that other nodes use, too.
    Server(Arc<ScratchDatabase>),
}

/// A running node.
pub struct Node {
    place: Place,
    habits: Habits,
    pub funnel: Funnel,
    pub store: Store,
    pub live: Live,
    /// What works behind the funnel of a server, and the way to the server.
    beside: Option<(Keeper, Relay)>,
    clock: Arc<ManualClock>,
    wall: i64,
    monotonic: i64,
    /// Wall clock minus monotonic clock, when both were last believed.
    offset: i64,
    /// The fault that waits for the next commit.
    pub armed: Option<CommitFault>,
    /// Whether the network was told to be that fault.
    by_network: bool,
}

/// The funnel and what shares its database.
struct Opened {
    funnel: Funnel,
    store: Store,
    live: Live,
    beside: Option<(Keeper, Relay)>,
    recovered: u64,
}

fn open(place: &Place, habits: &Habits, clock: Arc<ManualClock>) -> Opened {
    let (store, mut writer, beside) = match place {
        Place::Folder { path, .. } => {
            let (store, writer) = Store::open(path, &habits.options).expect("the database opens");
            (store, writer, None)
        }
        Place::Server(database) => {
            let relay = Relay::to(database.url());
            let connect = |url| Store::connect(&target(url), &habits.options, 1).expect("the server answers");
            // Only what the writer commits may be lost on the way.
            let (store, _, keeper) = connect(database.url());
            let mut writer = connect(relay.url()).1.remove(0);
            // It leases its slot now, so that the first commit on the way is one of the funnel's.
            drop(writer.begin().expect("a free slot"));
            (store, writer, Some((keeper, relay)))
        }
    };
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
    Opened { funnel, store, live, beside, recovered }
}

fn target(url: &str) -> Target {
    match DatabaseUrl::parse(url).expect("a URL") {
        DatabaseUrl::Server(target) => target,
        DatabaseUrl::Sqlite(path) => panic!("{} is a file", path.display()),
    }
}

fn temporary() -> TempDir {
    // Memory where there is some: thousands of commits wait for the disk otherwise.
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).expect("a temporary folder")
}

impl Node {
    /// A node on a new database.
    pub fn new(kind: Kind, habits: Habits, wall: i64) -> Node {
        let place = match kind {
            Kind::Sqlite => {
                let home = temporary();
                let path = home.path().join("purser.db");
                Place::Folder { home, folders: 0, path }
            }
            Kind::Postgres | Kind::Mysql => {
                let made = ScratchDatabase::migrated(&kind.server_url());
                Place::Server(Arc::new(made.unwrap_or_else(|error| panic!("{kind:?}: {error}"))))
            }
        };
        Node::start(place, habits, wall).0
    }

    /// Another node on the same database, if that can be, with the same clock.
    pub fn second(&self) -> Option<Node> {
        match &self.place {
            Place::Folder { .. } => None,
            Place::Server(database) => {
                Some(Node::start(Place::Server(database.clone()), self.habits.clone(), self.wall).0)
            }
        }
    }

    /// The database's URL.
    pub fn url(&self) -> String {
        match &self.place {
            Place::Folder { path, .. } => format!("sqlite:{}", path.display()),
            Place::Server(database) => database.url().to_owned(),
        }
    }

    /// Whether other nodes may share its database.
    pub fn is_server(&self) -> bool {
        self.beside.is_some()
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

    /// The time at which it prunes; none after a jump. Behind a server that is not the funnel's look at the clock.
    pub fn time_to_prune(&mut self) -> Option<i64> {
        if self.is_server() { self.is_safe().then_some(self.wall) } else { self.believe() }
    }

    /// The next commit fails in this way. Where there is a network, it is the network half of the time that loses a commit or
    /// its answer.
    pub fn arm(&mut self, fault: CommitFault, rng: &mut Rng) {
        self.armed = Some(fault);
        let cut = match fault {
            CommitFault::Lost => Some(Cut::BeforeCommit),
            CommitFault::After => Some(Cut::AfterCommit),
            CommitFault::Before | CommitFault::Full => None,
        };
        if let (Some((_, relay)), Some(cut)) = (&self.beside, cut)
            && rng.chance(50)
        {
            self.by_network = true;
            return relay.cut_next_commit(cut);
        }
        self.by_network = false;
        self.funnel.writer().fail_next_commit(fault);
    }

    /// Whether the last fault was the network's, and has happened.
    pub fn took_a_cut(&self) -> bool {
        self.by_network && self.beside.as_ref().is_some_and(|(_, relay)| !relay.is_armed())
    }

    /// Whether this work for quiet moments commits by the writer, so that an armed fault meets it.
    pub fn commits(&self, work: &str) -> bool {
        match work {
            "tidy" => true,
            "fold" => !self.is_server(),
            _ => !self.is_server() && self.is_safe(),
        }
    }

    /// Work for quiet moments: the funnel's, or on a server that of what works behind it.
    pub fn quiet_work(&mut self, work: &str) -> Result<bool, StoreError> {
        let before = Timestamp(self.wall - self.keep_keys());
        let safe = self.is_safe();
        match (work, &mut self.beside) {
            ("tidy", _) => self.funnel.tidy(),
            ("fold", None) => self.funnel.fold(),
            ("fold", Some((keeper, _))) => keeper.fold().map(|folded| folded > 0),
            (_, None) => self.funnel.prune(),
            (_, Some((keeper, _))) => {
                if safe {
                    keeper.prune_answers(before, 7)
                } else {
                    Ok(false)
                }
            }
        }
    }

    /// Every connection of the writer ends; it does not know yet.
    pub fn cut_connections(&self) {
        if let Some((_, relay)) = &self.beside {
            relay.cut_all();
        }
    }

    /// Ends in order and starts again, `drift` microseconds off; how many entries had to be replayed. A commit that is
    /// made to fail may keep it from saving everything first.
    pub fn restart(self, drift: i64) -> (Node, u64) {
        let Node { place, habits, funnel, wall, store, armed, beside, .. } = self;
        drop(store);
        let closed = funnel.close();
        drop(beside);
        assert!(closed.is_ok() || armed.is_some(), "the database does not close: {closed:?}");
        let (node, recovered) = Node::start(place, habits, wall + drift);
        assert!(recovered == 0 || closed.is_err(), "{recovered} entries to recover after a clean end");
        (node, recovered)
    }

    /// Ends without being asked and starts again.
    pub fn crash(self, crash: Crash, rng: &mut Rng, drift: i64) -> (Node, u64) {
        let Node { mut place, habits, funnel, wall, store, beside, .. } = self;
        if let (Place::Folder { home, folders, path }, Crash::Files | Crash::Torn) = (&mut place, crash) {
            *folders += 1;
            let folder = home.path().join(folders.to_string());
            fs::create_dir(&folder).expect("a folder");
            let copy = folder.join("purser.db");
            copy_files(path, &copy);
            if crash == Crash::Torn {
                tear(&copy, rng);
            }
            *path = copy;
        }
        drop((funnel, store, beside));
        Node::start(place, habits, wall + drift)
    }

    fn start(place: Place, habits: Habits, wall: i64) -> (Node, u64) {
        let clock = Arc::new(ManualClock::at(Timestamp(wall)));
        let Opened { funnel, store, live, beside, recovered } = open(&place, &habits, clock.clone());
        let (monotonic, offset, armed, by_network) = (0, wall, None, false);
        let node = Node {
            place,
            habits,
            funnel,
            store,
            live,
            beside,
            clock,
            wall,
            monotonic,
            offset,
            armed,
            by_network,
        };
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

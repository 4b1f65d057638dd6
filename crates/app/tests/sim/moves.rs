//! What befalls the machine: time, jumps of the clock, failing commits, crashes, tidying, cold changes.

use super::catalogue::{self, CHANGING, SWITCHED};
use super::node::Crash;
use super::run::Run;
use purser_app::engine::ColdJob;
use purser_core::Timestamp;
use purser_core::catalogue::Unit;
use purser_core::decide::Standing;
use purser_store::CommitFault;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// A node that finds itself further behind its ledger does not start.
const BEHIND_MAX: i64 = 59 * SECOND;

impl Run<'_> {
    /// Time passes: mostly seconds, now and then days.
    pub(super) fn pass_time(&mut self) {
        let micros = match self.rng.weighted(&[(12, 0_u8), (3, 1), (1, 2), (1, 3)]) {
            0 => self.rng.range(0, 4) * SECOND,
            1 => self.rng.range(0, 20 * SECOND),
            2 => DAY,
            _ => self.rng.range(1, 8) * DAY,
        };
        self.advance(micros);
    }

    /// The wall clock is corrected a little: that is followed, and no wallet's time runs backwards.
    pub(super) fn small_jump(&mut self) {
        let micros = self.rng.range(-4_900_000, 4_900_000);
        self.met.note(if micros < 0 { "clock: small step back" } else { "clock: small step forward" });
        self.say(format!("the clock moves by {micros}"));
        self.node().jump(micros);
    }

    /// The wall clock jumps: nothing is done until it is right again, or until somebody restarts the node.
    pub(super) fn large_jump(&mut self) {
        let far = self.rng.pick(&[6 * SECOND, HOUR, 200 * DAY]);
        let micros = self.rng.range(5 * SECOND + 1, far) - self.node().jumped();
        let back = self.rng.chance(50);
        self.met.note(if back { "clock: jump back" } else { "clock: jump forward" });
        self.say(format!("the clock jumps by {micros}, back: {back}"));
        let micros = if back { -self.rng.range(5 * SECOND + 1, far) - self.node().jumped() } else { micros };
        self.node().jump(micros);
        for _ in 0..self.rng.range(1, 2) {
            self.batch(true);
            if self.rng.chance(50) {
                self.tidy();
            }
        }
        self.calm_the_clock();
    }

    /// The wall clock is right again, roughly.
    pub(super) fn calm_the_clock(&mut self) {
        if self.node().is_safe() {
            return;
        }
        let off = self.node().jumped();
        if self.rng.chance(30) {
            self.start_again(-off);
        } else {
            let rough = self.rng.range(-2 * SECOND, 2 * SECOND);
            self.node().jump(rough - off);
        }
    }

    /// The next commit fails.
    pub(super) fn arm(&mut self) {
        let fault =
            self.rng.pick(&[CommitFault::Before, CommitFault::After, CommitFault::Lost, CommitFault::Full]);
        self.arm_with(fault);
        match self.rng.weighted(&[(5, 0_u8), (3, 1), (2, 2)]) {
            0 => self.batch(true),
            1 => self.cold(),
            _ => {}
        }
    }

    /// One fault at a time: a second one, of the network where the first is the store's, would not take its place.
    pub(super) fn arm_with(&mut self, fault: CommitFault) {
        let node = self.node.as_mut().expect("it is away only while it restarts");
        if node.armed.is_none() {
            node.arm(fault, &mut self.rng);
        }
    }

    /// The process ends in the middle of its work.
    pub(super) fn crash(&mut self) {
        if self.rng.chance(40) {
            if self.rng.chance(30) {
                let fault = self.rng.pick(&[CommitFault::Before, CommitFault::After, CommitFault::Lost]);
                self.arm_with(fault);
            }
            self.met.note("answers lost on the way");
            self.batch(false);
        }
        let crash = match self.node().is_server() {
            true => Crash::Ended,
            false => self.rng.pick(&[Crash::Ended, Crash::Files, Crash::Torn]),
        };
        self.met.note(match crash {
            Crash::Ended => "crash: the process ends",
            Crash::Files => "crash: the files as they lay on the disk",
            Crash::Torn => "crash: a torn end of the log",
        });
        let drift = self.drift();
        self.say(format!("{crash:?}, the clock drifts by {drift}"));
        let node = self.node.take().expect("it runs");
        let (node, recovered) = node.crash(crash, &mut self.rng, drift);
        self.started(node, recovered);
    }

    /// The process ends in order.
    pub(super) fn restart(&mut self) {
        let drift = self.drift();
        self.start_again(drift);
    }

    fn start_again(&mut self, drift: i64) {
        self.met.note("restart: clean");
        self.say(format!("restart, the clock moves by {drift}"));
        let node = self.node.take().expect("it runs");
        let (node, recovered) = node.restart(drift);
        self.started(node, recovered);
    }

    fn started(&mut self, node: super::node::Node, recovered: u64) {
        if recovered > 0 {
            self.met.note("recovered entries");
        }
        self.node = Some(node);
        self.now = self.node().wall();
        self.look();
    }

    /// By how much the wall clock is off after a start: a node may start a minute behind its ledger.
    fn drift(&mut self) -> i64 {
        let wrong = if self.node().is_safe() { 0 } else { -self.node().jumped() };
        if !self.rng.chance(30) {
            return wrong;
        }
        self.met.note("restart: with another wall clock");
        let earliest = self.oracle.latest() - BEHIND_MAX - self.node().wall();
        (wrong + self.rng.range(-50 * SECOND, 50 * SECOND)).max(earliest)
    }

    /// What a node does when nobody asks for anything. On a server its idle connections may end meanwhile.
    pub(super) fn tidy(&mut self) {
        if self.node().is_server() && self.rng.chance(20) {
            self.met.note("the connection is cut");
            self.node().cut_connections();
        }
        for _ in 0..self.rng.range(1, 4) {
            let which = self.rng.pick(&["tidy", "fold", "prune"]);
            self.met.note(which);
            if which == "prune" {
                if let Some(now) = self.node().time_to_prune() {
                    self.forgotten = self.forgotten.max(now - self.node().keep_keys());
                } else {
                    self.met.note("clock: prune while unsafe");
                }
            }
            let fault = if self.node().commits(which) { self.node().armed.take() } else { None };
            let done = self.node().quiet_work(which);
            self.say(format!("{which} {fault:?}: {done:?}"));
            if done.is_err() != fault.is_some() {
                self.fail(&format!("{which} with {fault:?} answered {done:?}"));
            }
        }
        self.look();
    }

    /// Configuration or a tenant changes; with a failing commit it may not, and the caller is told.
    pub(super) fn cold(&mut self) {
        let before = self.oracle.clone();
        let change = match self.rng.weighted(&[(3, 0_u8), (6, 1), (2, 2), (1, 3)]) {
            0 => self.new_price(),
            1 => self.new_standing(),
            2 => self.switch(),
            _ => self.revoke_key(),
        };
        let fault = self.node().armed.take();
        if let Some(fault) = fault {
            self.met.note(format!("fault {fault:?}, cold"));
        }
        let changed = self.node().funnel.change(vec![change]).remove(0);
        self.say(format!("cold change with {fault:?}: {changed:?}"));
        if changed.is_err() != fault.is_some() {
            self.fail(&format!("a cold change with {fault:?} answered {changed:?}"));
        }
        if matches!(fault, Some(CommitFault::Before | CommitFault::Lost | CommitFault::Full)) {
            self.oracle = before;
        }
        self.oracle.reprice();
        self.look();
    }

    fn new_price(&mut self) -> ColdJob {
        self.met.note("cold: price");
        let action = self.oracle.actions.iter().find(|action| action.no == CHANGING);
        // Time-ordered as the service's own: of two versions from one instant, the one that was added later is in force.
        let versions = action.map_or(0, |action| action.prices.len()) as u128;
        let id = (versions << 96) | u128::from(self.rng.number());
        let from = self.node().wall() + self.rng.range(0, 30) * SECOND;
        let price = catalogue::price(id, &Unit::credit(), from, catalogue::flat(self.rng.range(1, 20)));
        let action = self.oracle.actions.iter_mut().find(|action| action.no == CHANGING);
        action.expect("it is one of them").prices.push(price.clone());
        Box::new(move |batch| batch.insert_price(CHANGING, &price, Timestamp(from)).map(|()| true))
    }

    fn new_standing(&mut self) -> ColdJob {
        self.met.note("cold: standing");
        let away = self.oracle.tenants.iter().position(|tenant| tenant.standing != Standing::Active);
        let (index, standing) = match away {
            // Nobody is kept from spending for long.
            Some(index) => (index, Standing::Active),
            None => {
                let index = self.rng.index(self.oracle.tenants.len());
                (index, self.rng.pick(&[Standing::Frozen, Standing::Suspended, Standing::Closed]))
            }
        };
        let tenant = &mut self.oracle.tenants[index];
        tenant.standing = standing;
        let no = tenant.no;
        Box::new(move |batch| batch.set_standing(no, standing))
    }

    fn switch(&mut self) -> ColdJob {
        let action =
            self.oracle.actions.iter_mut().find(|action| action.no == SWITCHED).expect("one of them");
        action.active = !action.active;
        let active = action.active;
        if !active {
            self.met.note("cold: action off");
        }
        Box::new(move |batch| batch.set_action_active(SWITCHED, active))
    }

    fn revoke_key(&mut self) -> ColdJob {
        self.met.note("cold: key revoked");
        let wall = self.node().wall();
        self.oracle.keys_in_force.remove(&2);
        Box::new(move |batch| batch.revoke_api_key(2, Timestamp(wall)).map(|_| true))
    }
}

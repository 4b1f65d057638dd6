//! One seed: the scheduler. It picks one step after another until enough was asked, then looks at everything.
//!
//! Whatever the step, what a node answers must be what the oracle expects, and afterwards every wallet must be what the
//! model says. The moves that concern the machine (clocks, faults, crashes, cold changes) are in `moves.rs`.

use super::catalogue;
use super::check::{self, word};
use super::client::{Clients, Request};
use super::met::Met;
use super::node::{Habits, Node};
use super::oracle::{Expected, Oracle};
use super::rng::Rng;
use super::settle::{START, settle_in};
use crate::databases::Kind;
use purser_app::engine::{Job, Outcome};
use purser_core::receipt::Detail;
use purser_store::{CommitFault, OpenOptions};
use std::time::Duration;

const DAY: u64 = 86_400;
/// Lines of the story that a failure tells.
const TOLD: usize = 80;

/// A seed in the middle of its story.
pub struct Run<'m> {
    kind: Kind,
    pub(super) seed: u64,
    pub(super) rng: Rng,
    /// Away only while it restarts.
    pub(super) node: Option<Node>,
    /// Another node on the same database, whose turn is at another step.
    other: Option<Node>,
    pub(super) oracle: Oracle,
    clients: Clients,
    pub(super) met: &'m mut Met,
    log: Vec<String>,
    /// Everything that was ever asked, as it was asked.
    sent: Vec<Request>,
    /// What is still on its way.
    delayed: Vec<Request>,
    /// What was not answered, so that it is sent again.
    again: Vec<Request>,
    asked: i64,
    /// The time of the last batch.
    pub(super) now: i64,
    /// Answers given before this may have been forgotten.
    pub(super) forgotten: i64,
}

/// Plays a seed.
///
/// # Panics
/// Where anything is not as it should be; the message says what happened last.
pub fn play(kind: Kind, seed: u64, met: &mut Met) {
    let mut run = Run::new(kind, seed, met);
    let target = run.rng.range(300, 600);
    if seed.is_multiple_of(25) {
        run.burst();
    }
    while run.asked < target {
        run.step();
    }
    run.end();
}

impl<'m> Run<'m> {
    fn new(kind: Kind, seed: u64, met: &'m mut Met) -> Run<'m> {
        let mut rng = Rng::new(seed);
        let days = rng.pick(&[3, 90]);
        let options = match rng.chance(70) {
            true => OpenOptions { readers: 2, answers_per_run: 16, fold_window: 24 },
            false => OpenOptions { readers: 2, ..OpenOptions::default() },
        };
        let (deadline, keep_keys) = (Duration::from_secs(10), Duration::from_secs(days * DAY));
        let mut node = Node::new(kind, Habits { options, deadline, keep_keys }, START);
        let actions = catalogue::actions(&mut rng);
        let (tenants, limits) = settle_in(&mut node, &mut rng, &actions);
        let other = if seed.is_multiple_of(2) { node.second() } else { None };
        if other.is_some() {
            met.note("two nodes");
        }
        Run {
            kind,
            seed,
            rng,
            node: Some(node),
            other,
            oracle: Oracle::new(tenants, actions, limits, &[1, 2]),
            clients: Clients::new(),
            met,
            log: Vec::new(),
            sent: Vec::new(),
            delayed: Vec::new(),
            again: Vec::new(),
            asked: 0,
            now: START,
            forgotten: i64::MIN,
        }
    }

    pub(super) fn node(&mut self) -> &mut Node {
        self.node.as_mut().expect("it is away only while it restarts")
    }

    pub(super) fn say(&mut self, line: String) {
        self.log.push(line);
    }

    /// Fails the seed.
    pub(super) fn fail(&self, what: &str) -> ! {
        let told = self.log[self.log.len().saturating_sub(TOLD)..].join("\n");
        panic!(
            "{told}\nseed {}: {what}\nagain: PURSER_SIM_DATABASE={} PURSER_SIM_SEED={} cargo test -p purser-app --test simulation",
            self.seed,
            format!("{:?}", self.kind).to_lowercase(),
            self.seed
        );
    }

    pub(super) fn require<T>(&self, checked: Result<T, String>) -> T {
        checked.unwrap_or_else(|what| self.fail(&what))
    }

    /// The other node has its turn.
    fn change_over(&mut self) {
        if self.other.is_some() && self.rng.chance(50) {
            std::mem::swap(&mut self.node, &mut self.other);
            self.met.note("another node");
            self.say("the other node".into());
        }
    }

    /// Time passes, everywhere.
    pub(super) fn advance(&mut self, micros: i64) {
        self.node().advance(micros);
        if let Some(other) = &mut self.other {
            other.advance(micros);
        }
    }

    fn step(&mut self) {
        self.change_over();
        match self.rng.weighted(&[
            (60, 0_u8),
            (14, 1),
            (5, 2),
            (3, 3),
            (8, 4),
            (4, 5),
            (2, 6),
            (9, 7),
            (6, 8),
            (3, 9),
            (1, 10),
        ]) {
            0 => self.batch(true),
            1 => self.pass_time(),
            2 => self.small_jump(),
            3 => self.large_jump(),
            4 => self.arm(),
            5 => self.crash(),
            6 => self.restart(),
            7 => self.tidy(),
            8 => self.cold(),
            9 => self.replay_some(),
            _ => self.verify(),
        }
    }

    /// Clients ask. Their answers may be lost on the way.
    pub(super) fn batch(&mut self, delivered: bool) {
        let count = match self.rng.chance(30) {
            true => 1,
            false => self.rng.range(1, 40),
        };
        let mut requests: Vec<Request> = Vec::new();
        while (requests.len() as i64) < count {
            self.add_request(&mut requests);
        }
        for request in std::mem::take(&mut self.again) {
            // What contradicts an answer that was forgotten meanwhile contradicts nothing.
            if self.rng.chance(70) && self.is_remembered(&request) {
                self.met.note("sent again after a fault");
                requests.push(request);
            }
        }
        for _ in 0..self.rng.range(0, 2) {
            let (one, other) = (self.rng.index(requests.len()), self.rng.index(requests.len()));
            requests.swap(one, other);
        }
        self.carry_out(requests, delivered);
    }

    fn add_request(&mut self, requests: &mut Vec<Request>) {
        let wall = self.node().wall();
        match self.rng.weighted(&[(70, 0_u8), (8, 1), (4, 2), (4, 3), (5, 4), (7, 5)]) {
            1 if !self.sent.is_empty() => {
                let request = self.sent[self.rng.index(self.sent.len())].clone();
                if self.is_remembered(&request) {
                    requests.push(request);
                }
            }
            2 if !self.sent.is_empty() => {
                let request = self.sent[self.rng.index(self.sent.len())].contradicted();
                if self.is_remembered(&request) {
                    requests.push(request);
                }
            }
            3 if !requests.is_empty() => {
                let request = requests[self.rng.index(requests.len())].clone();
                requests.push(request);
            }
            4 => {
                let request = self.clients.request(&mut self.rng, &self.oracle, wall);
                self.delayed.push(request);
            }
            5 if !self.delayed.is_empty() => {
                let place = self.rng.index(self.delayed.len());
                self.met.note("delivered late");
                requests.push(self.delayed.swap_remove(place));
            }
            _ => requests.push(self.clients.request(&mut self.rng, &self.oracle, wall)),
        }
    }

    /// Whether the answer to its key, if there was one, must still be known.
    fn is_remembered(&self, request: &Request) -> bool {
        let Some(identity) = request.identity() else { return true };
        self.oracle.kept.get(&identity).is_none_or(|kept| kept.at >= self.forgotten)
    }

    fn jobs(&mut self, requests: &[Request]) -> (Vec<Job>, Vec<bool>) {
        let (wall, monotonic, deadline) =
            (self.node().wall(), self.node().monotonic(), self.node().deadline());
        let mut late = Vec::with_capacity(requests.len());
        let mut jobs = Vec::with_capacity(requests.len());
        for request in requests {
            let waited = self.rng.weighted(&[(96, 0), (2, deadline), (2, deadline + 1)]);
            let job = request.job(self.clients.id(wall), monotonic - waited);
            self.clients.remember(&job);
            late.push(waited > deadline);
            jobs.push(job);
        }
        (jobs, late)
    }

    /// Hands requests to the funnel in one batch and compares what comes back with what is expected.
    pub(super) fn carry_out(&mut self, requests: Vec<Request>, delivered: bool) {
        let (jobs, late) = self.jobs(&requests);
        self.asked += jobs.len() as i64;
        jobs.iter().for_each(|_| self.met.note("request"));
        let keyed = requests.iter().filter(|request| request.identity().is_some());
        self.sent.extend(keyed.cloned());
        let Some(now) = self.node().believe() else {
            let outcomes = self.node().funnel.process(&jobs);
            self.all_are(&jobs, &outcomes, "unavailable clock_unsafe");
            self.again.extend(requests);
            return self.look();
        };
        self.now = now;
        let before = self.oracle.clone();
        (self.oracle.wrote, self.oracle.swept) = (false, false);
        let expected: Vec<Expected> =
            jobs.iter().zip(&late).map(|(job, late)| self.oracle.expect(job, now, *late)).collect();
        let fault = if self.oracle.wrote { self.node().armed.take() } else { None };
        if self.node().armed.is_some() {
            self.met.note("armed, but nothing to commit");
        }
        let outcomes = self.node().funnel.process(&jobs);
        self.say(format!("{now} batch of {} fault {fault:?} delivered {delivered}", jobs.len()));
        if let Some(fault) = fault {
            self.met.note(format!("fault {fault:?}"));
            if self.node().took_a_cut() {
                self.met.note(format!("fault {fault:?}, network"));
            }
        }
        match fault {
            Some(CommitFault::Before) => self.nothing_happened(&jobs, &outcomes, "fault", before, requests),
            Some(CommitFault::Full | CommitFault::Lost) => {
                self.nothing_happened(&jobs, &outcomes, "unavailable store_unavailable", before, requests);
            }
            Some(CommitFault::After) | None => {
                self.compare(&jobs, &expected, &outcomes, fault.is_some());
                self.note(&before, &jobs, &expected);
                if delivered {
                    self.deliver(&jobs, &outcomes);
                }
            }
        }
        self.look();
    }

    fn nothing_happened(
        &mut self,
        jobs: &[Job],
        outcomes: &[Outcome],
        wanted: &str,
        before: Oracle,
        requests: Vec<Request>,
    ) {
        self.all_are(jobs, outcomes, wanted);
        self.oracle = before;
        self.again.extend(requests);
    }

    fn all_are(&mut self, jobs: &[Job], outcomes: &[Outcome], wanted: &str) {
        if outcomes.len() != jobs.len() {
            self.fail("a job without an outcome");
        }
        for outcome in outcomes {
            self.met.note(word(outcome));
            if word(outcome) != wanted {
                self.fail(&format!("expected {wanted}, got {outcome:?}"));
            }
        }
    }

    fn compare(&mut self, jobs: &[Job], expected: &[Expected], outcomes: &[Outcome], looked_up: bool) {
        if outcomes.len() != jobs.len() {
            self.fail("a job without an outcome");
        }
        for ((job, expected), outcome) in jobs.iter().zip(expected).zip(outcomes) {
            self.say(format!(
                "  {:x?} {:x?} {:?} -> {}",
                job.command.id,
                job.command.movement,
                job.route,
                word(outcome)
            ));
            // Without a key nobody can say whether it was done: the caller is told so.
            let unnamed = job.key.is_none() && job.event.is_none();
            if looked_up && unnamed && matches!(expected, Expected::Done { .. }) {
                if word(outcome) != "unavailable store_unavailable" {
                    self.fail(&format!("a job without a key was answered {outcome:?}"));
                }
                continue;
            }
            self.require(match job.event {
                Some(_) => check::recalled(expected, outcome),
                None => check::outcome(expected, outcome),
            });
        }
        if looked_up {
            self.met.note("answer looked up");
        }
    }

    /// Counts what was met.
    fn note(&mut self, before: &Oracle, jobs: &[Job], expected: &[Expected]) {
        if self.oracle.swept {
            self.met.note("more due than one command books");
        }
        for (job, expected) in jobs.iter().zip(expected) {
            match expected {
                Expected::Done { now, numbers } => {
                    self.met.note(format!("done {}", movement(job)));
                    if *now > self.now {
                        self.met.note("clock: time of a wallet ahead of the clock");
                    }
                    if numbers.iter().any(|(_, numbers)| numbers[5] > 0) {
                        self.met.note("debt");
                    }
                }
                Expected::Replayed(_) => {
                    self.met.note("replayed");
                    if job.key.as_ref().is_some_and(|(key, _)| !before.kept.contains_key(key)) {
                        self.met.note("replayed within a batch");
                    }
                    if let Some(event) = &job.event {
                        let known = before.kept.contains_key(event);
                        self.met.note(if known { "event replayed" } else { "event twice in a batch" });
                    }
                }
                Expected::Refused(code) => self.met.note(format!("refused {code}")),
                Expected::Unauthenticated => self.met.note("unauthenticated"),
                Expected::Late => self.met.note("unavailable deadline_exceeded"),
            }
        }
    }

    /// The answers arrive: from now on each of them is what its key must answer for ever.
    fn deliver(&mut self, jobs: &[Job], outcomes: &[Outcome]) {
        for (job, outcome) in jobs.iter().zip(outcomes) {
            let identity = job.event.or(job.key.map(|(key, _)| key));
            if outcome.as_ref().is_ok_and(|done| tells_of_a_share(&done.receipt.detail)) {
                self.met.note("told of a share of a limit");
            }
            if let (Some(identity), Ok(done)) = (identity, outcome) {
                let kept = self.oracle.kept.get_mut(&identity).expect("what is done is kept");
                let told =
                    if job.event.is_some() { check::lasting(&done.receipt) } else { done.receipt.clone() };
                if *kept.receipt.get_or_insert_with(|| told.clone()) != told {
                    self.fail(&format!("two answers to one request: {told:?}"));
                }
            }
        }
    }

    /// Every wallet is what the model says.
    pub(super) fn look(&mut self) {
        let node = self.node.as_ref().expect("it runs");
        self.require(check::wallets(node, &self.oracle, self.now));
    }

    /// Sends some of what was answered before once more.
    fn replay_some(&mut self) {
        let answered: Vec<Request> =
            self.sent.iter().filter(|request| self.must_be_answered(request)).cloned().collect();
        if answered.is_empty() {
            return;
        }
        let some =
            (0..self.rng.range(1, 30)).map(|_| answered[self.rng.index(answered.len())].clone()).collect();
        self.carry_out(some, true);
    }

    fn must_be_answered(&self, request: &Request) -> bool {
        let kept = request.identity().and_then(|identity| self.oracle.kept.get(&identity));
        kept.is_some_and(|kept| kept.receipt.is_some() && kept.at >= self.forgotten)
    }

    fn replay_all(&mut self) {
        let answered: Vec<Request> =
            self.sent.iter().filter(|request| self.must_be_answered(request)).cloned().collect();
        for part in answered.chunks(200) {
            self.carry_out(part.to_vec(), true);
        }
    }

    pub(super) fn verify(&mut self) {
        self.met.note("verify");
        let node = self.node.as_ref().expect("it runs");
        self.require(check::ledger(node, &self.oracle));
    }

    /// So much falls due at once in one wallet that it is booked in steps.
    fn burst(&mut self) {
        let wall = self.node().wall();
        let requests = self.clients.burst(&mut self.rng, &self.oracle, wall);
        self.carry_out(requests, true);
        self.asked = 0;
        self.advance(10_000_000);
        for _ in 0..3 {
            self.batch(true);
        }
    }

    /// Everything holds, before and after one more start.
    fn end(&mut self) {
        self.calm_the_clock();
        self.arm_with(CommitFault::Before);
        self.tidy();
        self.replay_all();
        self.verify();
        if self.rng.chance(50) {
            self.crash()
        } else {
            self.restart()
        }
        self.replay_all();
        self.verify();
    }
}

/// What a job asks for, in a word.
fn movement(job: &Job) -> &'static str {
    use purser_core::Movement;
    match &job.command.movement {
        Movement::Grant(_) => "grant",
        Movement::Revoke(_) => "revoke",
        Movement::Debit(_) => "debit",
        Movement::Refund(_) => "refund",
        Movement::PlaceHold(_) => "hold",
        Movement::ExtendHold(_) => "extend",
        Movement::CaptureHold(_) => "capture",
        Movement::ReleaseHold { .. } => "release",
        Movement::Transfer { .. } => "transfer",
        Movement::Freeze(_) => "freeze",
        Movement::Thaw { .. } => "thaw",
        Movement::Reverse(_) => "reverse",
        Movement::Reinstate { .. } => "reinstate",
        Movement::Sweep => "sweep",
    }
}

/// Whether a charge took somebody to a share of a limit.
fn tells_of_a_share(detail: &Detail) -> bool {
    match detail {
        Detail::Debit { charge } | Detail::Hold { charge, .. } => !charge.alerts.is_empty(),
        _ => false,
    }
}

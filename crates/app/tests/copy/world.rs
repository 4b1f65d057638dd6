//! A deployment to copy: tenants, keys, a catalogue, and everything that may happen to a wallet, made by the real funnel.
//!
//! What is asked is left to a seed. Refusals are fine; what was done is remembered with its key, so that it can be asked again
//! on a copy. On a server two writers take turns, so that a wallet's entries come from two slots.

use purser_app::caller::Scope;
use purser_app::clock::{Clock, ManualClock, SafeClock};
use purser_app::config::{Config, SharedConfig};
use purser_app::engine::{Done, Funnel, FunnelParts, Job, Live, Outcome, Route};
use purser_app::error::AppError;
use purser_core::catalogue::{Action, Overage, Price, TenantDiscount, Unit};
use purser_core::command::{
    CaptureHold, Command, Debit, ExtendHold, Freeze, Grant, PlaceHold, Refund, Reverse, Revoke,
};
use purser_core::confirm::Thresholds;
use purser_core::counter::Period;
use purser_core::entry::{Actor, ActorKind, GrantKind, Usage};
use purser_core::limit::{Limit, Whose};
use purser_core::pricing::Discount;
use purser_core::pricing::Model;
use purser_core::receipt::Receipt;
use purser_core::wallet::{Balance, Owner};
use purser_core::{
    Amount, Currency, Id, Key, Money, Movement, Quantity, Scale, TenantNo, Timestamp, UserNo, WalletKey,
};
use purser_store::{
    ActionRow, AuditRow, Batch, DatabaseUrl, EntryText, FreshNumbers, KeyDigest, NewApiKey, OpenOptions,
    Store, StoreError, UnitRow, Writer,
};
use std::sync::Arc;
use std::time::Duration;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
const START: i64 = 1_700_000_000_000_000;
/// The one action, at three of the smallest parts; a capture beyond its hold makes debt.
const ACTION: u64 = 77;
/// Commands of a batch.
const BATCH: usize = 200;
/// Requests that are remembered, to be asked again.
const REMEMBERED: usize = 2_000;

/// Chance from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        // Mostly of what is new, so that things happen to it before it ends.
        let of = if self.chance(80) { &of[of.len().saturating_sub(50)..] } else { of };
        if of.is_empty() { None } else { Some(of[self.roll(of.len() as u64) as usize]) }
    }
}

/// What was asked under a key, and what was answered.
struct Asked {
    command: Command,
    route: Route,
    key: (KeyDigest, [u8; 32]),
    receipt: Receipt,
}

/// The world around a ledger; it moves along with the ledger.
pub(crate) struct World {
    dice: Dice,
    now: i64,
    made: u64,
    owners: Vec<(TenantNo, UserNo)>,
    lots: Vec<(TenantNo, Id)>,
    holds: Vec<(TenantNo, Id)>,
    debits: Vec<(TenantNo, Id)>,
    purchases: Vec<(TenantNo, Id, WalletKey)>,
    causes: Vec<(TenantNo, Id, WalletKey, Id)>,
    asked: Vec<Asked>,
}

/// A limit under which everything is counted and nothing is refused.
fn never_reached(tenant: TenantNo, whose: Whose, period: Period) -> Limit {
    let unit = Unit::credit().code;
    let id = Limit::id_of(tenant, whose, None, &unit, period);
    Limit {
        id,
        tenant,
        whose,
        action: None,
        unit,
        amount: Amount::MAX,
        period,
        enforced: period == Period::Day,
        alert_at: vec![50, 100],
    }
}

/// The nodes that serve a database.
struct Served {
    funnels: Vec<Funnel>,
    clock: Arc<ManualClock>,
}

impl World {
    /// Nobody is there yet.
    pub(crate) fn new(seed: u64) -> World {
        World {
            dice: Dice(seed),
            now: START,
            made: 0,
            owners: Vec::new(),
            lots: Vec::new(),
            holds: Vec::new(),
            debits: Vec::new(),
            purchases: Vec::new(),
            causes: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// Makes units, actions, prices, tenants, users and keys, one of which is revoked.
    pub(crate) fn settle_in(&mut self, url: &str) {
        let mut served = self.serve(url);
        served.change(|batch| {
            batch.set_secret_fingerprint(u64::MAX - 5)?;
            let sms = Unit { code: key("sms"), scale: Scale::new(0).expect("a scale") };
            batch.insert_unit(&UnitRow { unit: sms, name: "Messages – é".into() }, Timestamp(START))?;
            batch.insert_action(&action(), Timestamp(START))?;
            let price = price(2, START + DAY, 3);
            batch.insert_price(ACTION, &price, Timestamp(START))?;
            let acme = batch.ensure_tenant(&key("acme"), TenantNo(u64::MAX - 1), Timestamp(START))?;
            for (whose, period) in [(Whose::Each, Period::Day), (Whose::Everybody, Period::Month)] {
                batch.set_limit(&never_reached(acme, whose, period), Timestamp(START))?;
            }
            for (no, action, valid_until) in
                [(1, None, None), (2, Some(ACTION), Some(Timestamp(START + DAY)))]
            {
                let (id, discount) = (Id::new(no, no), Discount::new(no as u16 * 1_250).expect("a part"));
                let (tenant, valid_from) = (acme, Timestamp(START));
                let own = TenantDiscount { id, tenant, action, discount, valid_from, valid_until };
                batch.insert_discount(&own, Timestamp(START))?;
            }
            for no in 1..=3_u64 {
                let name = format!("key {no}");
                let (hash, scope) = ([no as u8; 32], Scope::Write.name().to_string());
                let tenant = if no == 2 {
                    Some(batch.ensure_tenant(&key("acme"), TenantNo(u64::MAX - 1), Timestamp(START))?)
                } else {
                    None
                };
                batch.insert_api_key(&NewApiKey { no, name, hash, scope, tenant }, Timestamp(START))?;
                batch.insert_audit(&audit("api_key.create", no))?;
            }
            batch.revoke_api_key(3, Timestamp(START + 1))?;
            batch.insert_audit(&audit("api_key.revoke", 3))?;
            batch.bump_config_epoch()?;
            Ok(true)
        });
        for (tenant, users) in [(Some("acme"), 6_u64), (Some("Acme"), 4), (None, 5)] {
            for user in 0..users {
                // Numbers of both halves: they are stored as signed ones.
                let number = (user + 1) << (if user % 2 == 0 { 60 } else { 8 }) | u64::from(tenant.is_some());
                let fresh = FreshNumbers { tenant: TenantNo(number | 1 << 63), user: UserNo(number) };
                let tenant = tenant.map(key);
                let user = key(&format!("user:{user}"));
                let mut owner = None;
                served.change(|batch| {
                    owner = Some(batch.ensure_user(tenant.as_ref(), &user, fresh, Timestamp(START))?);
                    Ok(false)
                });
                self.owners.extend(owner);
            }
        }
        served.close();
    }

    /// Lets about so many commands happen at the database of this URL.
    pub(crate) fn live(&mut self, url: &str, commands: usize) {
        self.live_and(url, commands, || ());
    }

    /// The same, and does something before the nodes end in order.
    pub(crate) fn live_and(&mut self, url: &str, commands: usize, then: impl FnOnce()) {
        let mut served = self.serve(url);
        let mut left = commands;
        let mut turn = 0;
        while left > 0 {
            let asks: Vec<Ask> = (0..left.min(BATCH)).map(|_| self.ask()).collect();
            left -= asks.len();
            let jobs: Vec<Job> = asks.iter().map(|ask| ask.job(served.monotonic())).collect();
            let turns = served.funnels.len();
            let outcomes = served.funnels[turn % turns].process(&jobs);
            turn += 1;
            for (ask, outcome) in asks.into_iter().zip(outcomes) {
                self.remember(ask, outcome);
            }
            // Often no time passes between two batches, so that entries of two writers have one time.
            if self.dice.chance(60) {
                let pause = if self.dice.chance(5) { DAY } else { SECOND };
                served.clock.advance(pause);
                self.now += pause;
            }
        }
        then();
        served.close();
    }

    /// Asks everything that is remembered again: each answer must be the one that was given.
    pub(crate) fn repeat(&mut self, url: &str) {
        let mut served = self.serve(url);
        for asked in self.asked.chunks(BATCH) {
            let jobs: Vec<Job> = asked.iter().map(|asked| asked.job(asked.key, served.monotonic())).collect();
            let funnel = served.funnels.first_mut().expect("somebody serves");
            for (asked, outcome) in asked.iter().zip(funnel.process(&jobs)) {
                let Done { receipt, replayed } = outcome.expect("it was done before");
                assert!(replayed, "{url}: {:?} was done twice", asked.command);
                // Of an event the balance is not kept, but for what was settled.
                let settled = Balance { settled: asked.receipt.balance.settled, ..Balance::default() };
                let balance = if is_event(&asked.command) { settled } else { asked.receipt.balance };
                assert_eq!(receipt, Receipt { balance, ..asked.receipt.clone() }, "{url}");
            }
        }
        // One by one it is looked up by another way, and another request under the key is refused.
        for asked in self.asked.iter().take(50) {
            let (key, mut request) = asked.key;
            let monotonic = served.clock.monotonic();
            let funnel = served.funnels.last_mut().expect("somebody serves");
            let again = funnel.process(&[asked.job((key, request), monotonic)]).remove(0);
            assert!(again.is_ok_and(|done| done.replayed));
            request[0] ^= 1;
            let other = funnel.process(&[asked.job((key, request), monotonic)]).remove(0);
            if is_event(&asked.command) {
                assert!(other.is_ok_and(|done| done.replayed), "other content is the same event");
                continue;
            }
            let refused = other.map(|done| done.replayed).expect_err("another request under the same key");
            assert!(format!("{refused:?}").contains("IdempotencyConflict"), "{refused:?}");
        }
        served.close();
    }

    fn serve(&self, url: &str) -> Served {
        let clock = Arc::new(ManualClock::at(Timestamp(self.now)));
        let (store, writers) = open(url);
        let config = SharedConfig::default();
        config.set(Config::new(store.read(|reader| reader.config()).expect("the configuration is read")));
        let funnel = |mut writer: Writer| {
            writer.recover().expect("rows are brought up to the ledger");
            Funnel::new(FunnelParts {
                store: store.clone(),
                writer,
                live: Live::default(),
                config: config.clone(),
                clock: SafeClock::new(clock.clone()),
                deadline: Duration::from_secs(86_400 * 365),
                keep_keys: Duration::from_secs(86_400 * 3_650),
            })
        };
        Served { funnels: writers.into_iter().map(funnel).collect(), clock }
    }

    fn fresh(&mut self) -> Id {
        self.made += 1;
        Id::new(u64::try_from(self.now / 1_000).expect("a time"), self.made)
    }

    fn remember(&mut self, ask: Ask, outcome: Outcome) {
        assert!(!matches!(outcome, Err(AppError::Unauthenticated)), "its key is in force");
        let Ok(Done { receipt, replayed }) = outcome else { return };
        assert!(!replayed, "every key is new");
        let (tenant, id) = (ask.command.tenant, ask.command.id);
        let wallet = WalletKey { tenant, id: receipt.wallet };
        match &ask.command.movement {
            Movement::Grant(grant) => {
                self.lots.push((tenant, id));
                self.purchases.extend(grant.origin.map(|origin| (tenant, origin, wallet)));
            }
            Movement::Debit(_) => self.debits.push((tenant, id)),
            Movement::PlaceHold(_) => self.holds.push((tenant, id)),
            Movement::Freeze(freeze) => self.causes.push((tenant, freeze.cause, wallet, freeze.origin)),
            Movement::Reverse(reverse) => self.causes.push((tenant, reverse.cause, wallet, reverse.origin)),
            _ => {}
        }
        if self.asked.len() == REMEMBERED {
            let place = self.dice.roll(REMEMBERED as u64) as usize;
            self.asked.swap_remove(place);
        }
        self.asked.push(Asked { command: ask.command, route: ask.route, key: ask.key, receipt });
    }

    fn ask(&mut self) -> Ask {
        let owners = self.owners.clone();
        let (tenant, user) = owners[self.dice.roll(owners.len() as u64) as usize];
        let owner = Owner::User(user);
        let sms = self.dice.chance(5);
        let unit = if sms { key("sms") } else { Unit::credit().code };
        let owned = Route::Owned(owner, unit);
        let id = self.fresh();
        let (movement, route) = match self.dice.roll(100) {
            0..=19 => (self.grant(), owned),
            20..=54 => {
                let settle = self.dice.chance(20);
                let usage = Usage::Quantity(Quantity::ONE);
                let debit = Debit { action: ACTION, usage, unit: None, wallet: None, settle, quote: None };
                (Movement::Debit(debit), Route::Action(owner))
            }
            55..=66 => {
                let usage = Usage::Amount(self.amount());
                let expires_in = SECOND * (1 + self.dice.roll(40) as i64);
                let (action, unit, wallet) = (ACTION, None, None);
                let place = PlaceHold { action, usage, unit, wallet, expires_in, quote: None };
                (Movement::PlaceHold(place), Route::Action(owner))
            }
            67..=79 => self.hold_or(&owned),
            80..=85 => self.refund_or(&owned),
            86..=90 => {
                let peers: Vec<_> = owners.iter().copied().filter(|(of, _)| *of == tenant).collect();
                let (_, peer) = peers[self.dice.roll(peers.len() as u64) as usize];
                let to = Route::Owned(Owner::User(peer), Unit::credit().code);
                let from = Route::Owned(owner, Unit::credit().code);
                (Movement::Transfer { amount: self.amount() }, Route::Pair(Box::new((from, to))))
            }
            _ => self.purchase_or(&owned, id),
        };
        // What was chosen may be another tenant's.
        let tenant = self.tenant_of(&movement, tenant);
        let text = self.dice.chance(30).then(|| self.text());
        let actor = Actor { kind: ActorKind::ApiKey, no: 1 };
        let command = Command {
            id,
            tenant,
            user: Some(user).filter(|_| tenant == owner_of(&owners, user)),
            actor,
            occurred_at: Timestamp(self.now),
            text_digest: text.as_ref().map(EntryText::digest),
            movement,
        };
        // As clients are told to, and as they do.
        let name = if self.dice.chance(50) {
            format!("{:032x}", id.0)
        } else {
            format!("{:x}", self.dice.roll(u64::MAX))
        };
        let mut request = [0; 32];
        request[..8].copy_from_slice(&self.made.to_be_bytes());
        Ask { command, route, text, key: (KeyDigest::of(tenant, &name), request) }
    }

    fn tenant_of(&self, movement: &Movement, otherwise: TenantNo) -> TenantNo {
        let of = |known: &[(TenantNo, Id)], id: Id| {
            known.iter().rev().find(|(_, known)| *known == id).map(|(of, _)| *of)
        };
        let found = match movement {
            Movement::Revoke(revoke) => of(&self.lots, revoke.lot),
            Movement::Refund(refund) => of(&self.debits, refund.debit),
            Movement::ExtendHold(extend) => of(&self.holds, extend.hold),
            Movement::CaptureHold(capture) => of(&self.holds, capture.hold),
            Movement::ReleaseHold { hold } => of(&self.holds, *hold),
            Movement::Freeze(Freeze { origin, .. }) | Movement::Reverse(Reverse { origin, .. }) => {
                self.purchases.iter().find(|(_, known, _)| known == origin).map(|(of, ..)| *of)
            }
            Movement::Thaw { cause } | Movement::Reinstate { cause } => {
                self.causes.iter().find(|(_, known, ..)| known == cause).map(|(of, ..)| *of)
            }
            _ => None,
        };
        found.unwrap_or(otherwise)
    }

    fn amount(&mut self) -> Amount {
        Amount(1 + self.dice.roll(60) as i64)
    }

    fn text(&mut self) -> EntryText {
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&self.dice.roll(u64::MAX).to_be_bytes());
        let reference = self.dice.chance(80).then(|| format!("order-{}", self.dice.roll(40)));
        let metadata =
            self.dice.chance(30).then(|| "{\"where\":\"Kuala Lumpur – ‘KL’ \\\\ \\n\"}".to_string());
        EntryText { salt, reference, metadata, reason: Some("as agreed".into()) }
    }

    fn grant(&mut self) -> Movement {
        let bought = self.dice.chance(40);
        let money = Money {
            minor: 1 + self.dice.roll(500) as i64,
            currency: Currency::parse("MYR").expect("listed"),
        };
        let ends =
            self.dice.chance(50).then(|| Timestamp(self.now + SECOND * (1 + self.dice.roll(200_000) as i64)));
        Movement::Grant(Grant {
            amount: Amount(1 + self.dice.roll(200) as i64),
            kind: if bought { GrantKind::Paid } else { GrantKind::Promotional },
            priority: self.dice.roll(3) as i32 - 1,
            effective_at: self.dice.chance(10).then(|| Timestamp(self.now + 5 * SECOND)),
            expires_at: ends,
            paid: bought.then_some(money),
            origin: bought.then(|| self.fresh()),
        })
    }

    fn hold_or(&mut self, owned: &Route) -> (Movement, Route) {
        let Some((_, hold)) = self.dice.one(&self.holds) else { return (self.grant(), owned.clone()) };
        let movement = match self.dice.roll(4) {
            0 => Movement::ExtendHold(ExtendHold { hold, expires_in: Some(90 * SECOND), usage: None }),
            1 => Movement::ReleaseHold { hold },
            _ => {
                let usage = self.dice.chance(50).then(|| Usage::Amount(self.amount()));
                Movement::CaptureHold(CaptureHold { hold, usage, settle: false })
            }
        };
        (movement, Route::Subject(hold))
    }

    fn refund_or(&mut self, owned: &Route) -> (Movement, Route) {
        if self.dice.chance(30)
            && let Some((_, lot)) = self.dice.one(&self.lots)
        {
            return (Movement::Revoke(Revoke { lot, amount: None }), Route::Subject(lot));
        }
        match self.dice.one(&self.debits) {
            None => (self.grant(), owned.clone()),
            Some((_, debit)) => {
                let amount = self.dice.chance(50).then_some(Amount(1));
                (Movement::Refund(Refund { debit, amount }), Route::Subject(debit))
            }
        }
    }

    fn purchase_or(&mut self, owned: &Route, id: Id) -> (Movement, Route) {
        if self.dice.chance(35)
            && let Some((_, cause, buyer, origin)) = self.dice.one(&self.causes)
        {
            let route = Route::Origin(origin, Some(buyer));
            let movement =
                if self.dice.chance(60) { Movement::Thaw { cause } } else { Movement::Reinstate { cause } };
            return (movement, route);
        }
        let Some((_, origin, buyer)) = self.dice.one(&self.purchases) else {
            return (self.grant(), owned.clone());
        };
        let amount = self.amount();
        let movement = match self.dice.chance(60) {
            true => Movement::Freeze(Freeze { cause: id, origin, amount }),
            false => Movement::Reverse(Reverse { cause: id, origin, amount, buyer: buyer.id }),
        };
        (movement, Route::Origin(origin, Some(buyer)))
    }
}

/// Settle debits are made of events; everything else is asked under a key.
fn named(
    command: &Command,
    key: (KeyDigest, [u8; 32]),
) -> (Option<(KeyDigest, [u8; 32])>, Option<KeyDigest>) {
    if is_event(command) { (None, Some(key.0)) } else { (Some(key), None) }
}

fn is_event(command: &Command) -> bool {
    matches!(&command.movement, Movement::Debit(debit) if debit.settle)
}

/// A request before it is answered.
struct Ask {
    command: Command,
    route: Route,
    text: Option<EntryText>,
    key: (KeyDigest, [u8; 32]),
}

impl Ask {
    fn job(&self, queued_at: i64) -> Job {
        let (command, route, text) = (self.command.clone(), self.route.clone(), self.text.clone());
        let (key, event) = named(&command, self.key);
        Job { command, route, key, event, text, queued_at }
    }
}

impl Asked {
    fn job(&self, key: (KeyDigest, [u8; 32]), queued_at: i64) -> Job {
        // The text plays no part in a repetition.
        let command = Command { text_digest: None, ..self.command.clone() };
        let (key, event) = named(&command, key);
        Job { command, route: self.route.clone(), key, event, text: None, queued_at }
    }
}

impl Served {
    fn monotonic(&self) -> i64 {
        self.clock.monotonic()
    }

    fn change(&mut self, change: impl FnOnce(&mut Batch<'_>) -> Result<bool, StoreError>) {
        let funnel = self.funnels.first_mut().expect("somebody serves");
        let mut batch = funnel.writer().begin().expect("a transaction");
        change(&mut batch).expect("a change");
        batch.commit().expect("it is committed");
    }

    fn close(self) {
        for funnel in self.funnels {
            funnel.close().expect("it ends in order");
        }
    }
}

fn open(url: &str) -> (Store, Vec<Writer>) {
    match DatabaseUrl::parse(url).expect("a URL") {
        DatabaseUrl::Sqlite(path) => {
            // Small, so that there are runs of answers and folded windows.
            let options = OpenOptions { answers_per_run: 500, fold_window: 700, ..OpenOptions::default() };
            let (store, writer) = Store::open(&path, &options).expect("it opens");
            (store, vec![writer])
        }
        DatabaseUrl::Server(target) => {
            let (store, writers, _) =
                Store::connect(&target, &OpenOptions::default(), 2).expect("it answers");
            (store, writers)
        }
    }
}

fn owner_of(owners: &[(TenantNo, UserNo)], user: UserNo) -> TenantNo {
    owners.iter().find(|(_, known)| *known == user).map_or(TenantNo(0), |(tenant, _)| *tenant)
}

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

fn price(id: u128, valid_from: i64, amount: i64) -> Price {
    let model = Model::Flat { amount: Amount(amount) };
    Price { id: Id(id), unit: Unit::credit().code, valid_from: Timestamp(valid_from), model }
}

fn action() -> ActionRow {
    let action = Action {
        no: ACTION,
        key: key("scan"),
        active: true,
        confirm_above: Thresholds::default(),
        overage: Overage::Debt,
        units: vec![Unit::credit().code],
        prices: vec![price(1, 0, 2)],
    };
    let (unit_label, description) = (Some("scan".to_string()), Some("Looks at everything".to_string()));
    ActionRow { action, name: "Scan".into(), unit_label, description, category: None }
}

fn audit(what: &str, no: u64) -> AuditRow {
    AuditRow {
        actor: Actor::WORKER,
        what: what.into(),
        subject: no.to_string(),
        before: None,
        after: Some("{}".into()),
        reason: None,
        at: Timestamp(START),
    }
}

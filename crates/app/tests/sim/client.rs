//! Clients: what they ask, about things that mostly exist.

use super::catalogue::{self, CHANGING, FLAT, FREE, MEASURES, PIECES, SWITCHED, UNKNOWN};
use super::oracle::{Oracle, Place};
use super::rng::Rng;
use purser_app::engine::{Job, Route};
use purser_core::catalogue::Unit;
use purser_core::command::{
    CaptureHold, Command, Debit, ExtendHold, Freeze, Grant, Movement, PlaceHold, Promise, Quote, Refund,
    Reverse, Revoke,
};
use purser_core::entry::{Actor, ActorKind, GrantKind, Usage};
use purser_core::pricing::{Discount, Footing};
use purser_core::wallet::Owner;
use purser_core::{Amount, Currency, Id, Money, Quantity, TenantNo, Timestamp, UserNo};
use purser_store::{EntryText, KeyDigest};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// How long the promises that are about bind at most: each of the few of its time ends with it.
const PROMISES: i64 = 40 * SECOND;

/// A request: what every attempt to deliver it has in common.
#[derive(Clone)]
pub struct Request {
    pub tenant: TenantNo,
    user: Option<UserNo>,
    actor: Actor,
    pub movement: Movement,
    pub route: Route,
    pub key: Option<(KeyDigest, [u8; 32])>,
    /// The event that it reports, in place of a key.
    pub event: Option<KeyDigest>,
    text: Option<EntryText>,
    occurred_at: i64,
}

impl Request {
    /// An attempt to deliver it, under the id of what it would make.
    pub fn job(&self, id: Id, queued_at: i64) -> Job {
        Job {
            command: Command {
                id,
                tenant: self.tenant,
                user: self.user,
                actor: self.actor,
                occurred_at: Timestamp(self.occurred_at),
                text_digest: self.text.as_ref().map(EntryText::digest),
                movement: self.movement.clone(),
            },
            route: self.route.clone(),
            key: self.key,
            event: self.event,
            text: self.text.clone(),
            queued_at,
        }
    }

    /// What it is known by when it comes again.
    pub fn identity(&self) -> Option<KeyDigest> {
        self.event.or(self.key.map(|(key, _)| key))
    }

    /// Another request that comes under the same key, or as the same event.
    pub fn contradicted(&self) -> Request {
        if let (Some(_), Movement::Debit(debit)) = (self.event, &self.movement) {
            let usage = Usage::Quantity(Quantity(7_000_000));
            let movement = Movement::Debit(Debit { action: PIECES, usage, ..debit.clone() });
            return Request { movement, text: None, ..self.clone() };
        }
        let key = self.key.map(|(key, mut digest)| {
            digest[0] ^= 1;
            (key, digest)
        });
        Request { key, ..self.clone() }
    }
}

/// Everybody who asks.
pub struct Clients {
    made: u64,
    /// Ids that attempts were made under, newest last: some of them became something.
    lots: Vec<(TenantNo, Id)>,
    holds: Vec<(TenantNo, Id)>,
    debits: Vec<(TenantNo, Id)>,
}

impl Clients {
    /// Nobody has asked anything yet.
    pub fn new() -> Clients {
        Clients { made: 0, lots: Vec::new(), holds: Vec::new(), debits: Vec::new() }
    }

    /// A fresh id.
    pub fn id(&mut self, wall: i64) -> Id {
        self.made += 1;
        Id::new(u64::try_from(wall / 1_000).unwrap_or(0), self.made)
    }

    /// Remembers an attempt: later requests may name what it made.
    pub fn remember(&mut self, job: &Job) {
        let made = (job.command.tenant, job.command.id);
        match &job.command.movement {
            Movement::Grant(_) => self.lots.push(made),
            Movement::Debit(_) => self.debits.push(made),
            Movement::PlaceHold(_) => self.holds.push(made),
            Movement::CaptureHold(capture) => self.debits.push((made.0, capture.hold)),
            _ => {}
        }
    }

    /// One of the newer things of this tenant; now and then an old one, or one that does not exist.
    fn choose(known: &[(TenantNo, Id)], tenant: TenantNo, rng: &mut Rng) -> Id {
        let mine: Vec<Id> = known.iter().filter(|(of, _)| *of == tenant).map(|(_, id)| *id).collect();
        let newest = &mine[mine.len().saturating_sub(6)..];
        match rng.range(0, 99) {
            0 => Id(0xdead),
            _ if mine.is_empty() => Id(0xdead),
            1..=25 => mine[rng.index(mine.len())],
            _ => newest[rng.index(newest.len())],
        }
    }

    /// A new request.
    pub fn request(&mut self, rng: &mut Rng, oracle: &Oracle, wall: i64) -> Request {
        let tenant = &oracle.tenants[rng.index(oracle.tenants.len())];
        let no = tenant.no;
        let place = any_place(rng, &tenant.places);
        let mut request = Request {
            tenant: no,
            user: match place.owner {
                Owner::User(user) => Some(user),
                Owner::Pool(_) => None,
            },
            actor: Actor { kind: ActorKind::ApiKey, no: rng.weighted(&[(9, 1), (3, 2)]) },
            movement: Movement::Sweep,
            route: Route::Wallet(place.key, None),
            key: None,
            event: None,
            text: rng.maybe(20, any_text),
            occurred_at: wall - rng.maybe(25, |rng| rng.range(0, 20 * SECOND)).unwrap_or(0),
        };
        let kinds =
            [14, 3, 20, 7, 13, 6, 10, 3, 7, 4, 3, 4, 4, 2].into_iter().zip(0_u8..).collect::<Vec<_>>();
        match rng.weighted(&kinds) {
            0 => self.grant(rng, &mut request, place, wall),
            1 => {
                let lot = Clients::choose(&self.lots, no, rng);
                request.route = Route::Subject(lot);
                request.movement = Movement::Revoke(Revoke { lot, amount: rng.maybe(60, any_amount) });
            }
            2 => consume(rng, &mut request, place, None),
            3 => {
                let debit = Clients::choose(&self.debits, no, rng);
                request.route = Route::Subject(debit);
                request.movement = Movement::Refund(Refund { debit, amount: rng.maybe(60, any_amount) });
            }
            4 => {
                let life = any_life(rng);
                consume(rng, &mut request, place, Some(life));
            }
            kind @ 5..=7 => self.hold(rng, &mut request, kind),
            8 => {
                let to = any_place(rng, &tenant.places);
                transfer(rng, &mut request, place, to);
            }
            kind @ 9..=12 => purchase(rng, &mut request, place, kind),
            _ => {
                request.actor = Actor::WORKER;
                request.user = None;
                request.text = None;
            }
        }
        let settles = matches!(&request.movement, Movement::Debit(debit) if debit.settle);
        if settles && rng.chance(60) {
            let id = format!("{:x}", rng.number());
            request.event = Some(KeyDigest::of_event(no, rng.pick(&["/shop", "/crawler"]), &id));
        } else if !matches!(request.movement, Movement::Sweep) {
            let mut digest = [0; 32];
            digest[..8].copy_from_slice(&rng.number().to_be_bytes());
            request.key = Some((KeyDigest::of(no, &format!("{:x}", rng.number())), digest));
        }
        request
    }

    fn grant(&mut self, rng: &mut Rng, request: &mut Request, place: &Place, wall: i64) {
        let amount = rng.weighted(&[(20, (1, 39)), (20, (40, 300)), (1, (-1, 0))]);
        let kind =
            rng.pick(&[GrantKind::Paid, GrantKind::Paid, GrantKind::Promotional, GrantKind::Adjustment]);
        let money = |rng: &mut Rng| Money {
            minor: {
                let most = rng.pick(&[30, 5_000]);
                rng.range(0, most)
            },
            currency: Currency::parse("MYR").expect("listed"),
        };
        let grant = Grant {
            amount: Amount(rng.range(amount.0, amount.1)),
            kind,
            priority: rng.range(-1, 1) as i32,
            effective_at: rng.maybe(20, |rng| Timestamp(wall + rng.range(-10 * SECOND, 20 * SECOND))),
            expires_at: rng.maybe(50, |rng| Timestamp(wall + any_life(rng))),
            paid: rng.maybe(60, money),
            origin: rng.maybe(70, |rng| purchase_of(place, rng)),
        };
        request.movement = Movement::Grant(grant);
        request.route = Route::Owned(place.owner, place.unit.code.clone());
    }

    /// So many small grants to one wallet that end together: more than one command books when they do.
    pub fn burst(&mut self, rng: &mut Rng, oracle: &Oracle, wall: i64) -> Vec<Request> {
        let tenant = &oracle.tenants[0];
        let first = loop {
            let request = self.request(rng, oracle, wall);
            if request.tenant == tenant.no && matches!(request.movement, Movement::Grant(_)) {
                break request;
            }
        };
        let grant = Grant {
            amount: Amount(1),
            kind: GrantKind::Promotional,
            priority: 0,
            effective_at: None,
            expires_at: Some(Timestamp(wall + 9 * SECOND)),
            paid: None,
            origin: None,
        };
        let numbered = |no: usize| Request {
            movement: Movement::Grant(grant.clone()),
            key: Some((KeyDigest::of(tenant.no, &format!("burst {no}")), [no as u8; 32])),
            ..first.clone()
        };
        (0..280).map(numbered).collect()
    }

    fn hold(&mut self, rng: &mut Rng, request: &mut Request, kind: u8) {
        let hold = Clients::choose(&self.holds, request.tenant, rng);
        request.route = Route::Subject(hold);
        let usage = |rng: &mut Rng| Usage::Amount(any_amount(rng));
        request.movement = match kind {
            5 => Movement::ExtendHold(ExtendHold {
                hold,
                expires_in: rng.maybe(50, any_life),
                usage: rng.maybe(60, usage),
            }),
            6 => Movement::CaptureHold(CaptureHold {
                hold,
                usage: rng.maybe(70, usage),
                settle: rng.chance(30),
            }),
            _ => Movement::ReleaseHold { hold },
        };
    }
}

fn any_place<'a>(rng: &mut Rng, places: &'a [Place]) -> &'a Place {
    // Mostly credits, so that wallets meet each other.
    let place = &places[rng.index(places.len())];
    if place.unit.code.as_str() == Unit::CREDIT || rng.chance(30) {
        place
    } else {
        places
            .iter()
            .find(|other| other.owner == place.owner && other.unit.code.as_str() == Unit::CREDIT)
            .expect("each owner has credits")
    }
}

fn any_amount(rng: &mut Rng) -> Amount {
    let (low, high) = rng.weighted(&[(40, (1, 39)), (8, (40, 200)), (1, (-1, 0))]);
    Amount(rng.range(low, high))
}

/// How long lots and holds live, on the scale of the time that passes, so that ends meet.
fn any_life(rng: &mut Rng) -> i64 {
    match rng.weighted(&[(16, 0_u8), (4, 1), (2, 2), (1, 3)]) {
        0 => rng.range(1, 29) * SECOND,
        1 => DAY,
        2 => rng.range(0, 2 * DAY),
        _ => 0,
    }
}

fn any_text(rng: &mut Rng) -> EntryText {
    let mut salt = [0; 16];
    salt[..8].copy_from_slice(&rng.number().to_be_bytes());
    EntryText { salt, reference: Some(format!("order-{}", rng.range(0, 20))), metadata: None, reason: None }
}

/// A purchase is of one unit and one tenant.
fn purchase_of(place: &Place, rng: &mut Rng) -> Id {
    let unit = if place.unit.code.as_str() == Unit::CREDIT { 0x10 } else { 0x20 };
    Id(0xaa00 + unit + rng.range(1, 2) as u128)
}

fn usage(rng: &mut Rng, action: u64) -> Usage {
    let (one, two) = (Quantity(rng.range(0, 9_000_000)), Quantity(rng.range(0, 3_000_000)));
    let measures = |second: &str| Usage::Dimensions(vec![("input".into(), one), (second.into(), two)]);
    match (rng.range(0, 39), action) {
        (0, _) => measures("unknown"),
        (1..=2, _) => Usage::Amount(Amount(one.0 / 300_000)),
        (3, _) => Usage::Quantity(two),
        (_, MEASURES) => measures("output"),
        (_, PIECES) => Usage::Quantity(one),
        _ => Usage::Quantity(Quantity::ONE),
    }
}

/// A debit, or a hold that lives so long.
fn consume(rng: &mut Rng, request: &mut Request, place: &Place, life: Option<i64>) {
    let often =
        [(10, FLAT), (10, PIECES), (10, MEASURES), (3, FREE), (3, SWITCHED), (6, CHANGING), (1, UNKNOWN)];
    let action = rng.weighted(&often);
    let unit =
        rng.maybe(10, |rng| rng.pick(&[0, 1])).map(|index: usize| catalogue::units()[index].code.clone());
    let from_wallet = rng.chance(20);
    let wallet = from_wallet.then_some(place.key.id);
    let usage = usage(rng, action);
    let at = request.occurred_at;
    let quote = rng.maybe(25, |rng| any_quote(rng, action, at));
    request.route =
        if from_wallet { Route::Wallet(place.key, Some(place.owner)) } else { Route::Action(place.owner) };
    request.movement = match life {
        None => Movement::Debit(Debit { action, usage, unit, wallet, settle: rng.chance(25), quote }),
        Some(expires_in) => Movement::PlaceHold(PlaceHold { action, usage, unit, wallet, expires_in, quote }),
    };
}

/// One of the few promises that are about for an action, so that each comes back several times; now and then one that is none.
fn any_quote(rng: &mut Rng, action: u64, at: i64) -> Quote {
    let (time, which) = (at.div_euclid(PROMISES), rng.range(0, 3));
    match rng.range(0, 19) {
        0 => return Quote::Invalid,
        1 => return Quote::Mismatch,
        _ => {}
    }
    Quote::Promise(Promise {
        id: Id(0xee00_0000_0000_0000 + time as u128 * 256 + u128::from(action) * 8 + which as u128),
        price: Id(u128::from(action) * 10),
        unit: Unit::credit().code,
        amount: Amount(which * 4),
        footing: Footing {
            discount: Discount::new(which as u16 * 1_000).expect("a part"),
            used_before: None,
        },
        expires_at: Timestamp((time + 1) * PROMISES),
        used: false,
    })
}

fn transfer(rng: &mut Rng, request: &mut Request, from: &Place, to: &Place) {
    let end = |rng: &mut Rng, place: &Place| {
        if rng.chance(50) {
            Route::Owned(place.owner, place.unit.code.clone())
        } else {
            Route::Wallet(place.key, None)
        }
    };
    request.route = Route::Pair(Box::new((end(rng, from), end(rng, to))));
    request.movement = Movement::Transfer { amount: any_amount(rng) };
}

/// Money of a purchase is disputed, or goes back, or comes again. A cause belongs to one purchase.
fn purchase(rng: &mut Rng, request: &mut Request, buyer: &Place, kind: u8) {
    let origin = purchase_of(buyer, rng);
    let cause = Id(0xcc_0000 + origin.0 * 16 + rng.range(0, 7) as u128);
    let amount = any_amount(rng);
    request.route = Route::Origin(origin, Some(buyer.key));
    request.movement = match kind {
        9 => Movement::Freeze(Freeze { cause, origin, amount }),
        10 => Movement::Thaw { cause },
        11 => Movement::Reverse(Reverse { cause, origin, amount, buyer: buyer.key.id }),
        _ => Movement::Reinstate { cause },
    };
}

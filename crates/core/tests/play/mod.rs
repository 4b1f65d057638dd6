//! `play`: a story as text, one step after another, and what came of each.
//!
//! Amounts are in the smallest part of the unit and times count from the first step, so that a script can be checked
//! by hand. Grants, debits and holds are named in the order in which they are made: `g1`, `d1`, `h1`. The line of a step
//! says what is left, then whatever is not nothing, then in brackets what was booked beside it by rule.

use crate::world::World;
use purser_core::catalogue::{Action, Catalogue, Overage, Price, Unit};
use purser_core::command::{
    CaptureHold, Command, Debit, ExtendHold, Freeze, Grant, Movement, PlaceHold, Refund, Reverse, Revoke,
};
use purser_core::confirm::Thresholds;
use purser_core::counter::Period;
use purser_core::decide::{Standing, project};
use purser_core::entry::{Actor, ActorKind, Entry, GrantKind, Usage};
use purser_core::limit::{Limit, Whose};
use purser_core::pricing::{Bounds, Model, Rate};
use purser_core::rejection::Misfit;
use purser_core::wallet::Owner;
use purser_core::{
    Amount, Currency, Decimal, Decision, Id, Key, Money, Quantity, Rejection, Scale, TenantNo, Timestamp,
    UserNo, Wallet,
};

const SECOND: i64 = 1_000_000;
const TENANT: TenantNo = TenantNo(1);
const USER: UserNo = UserNo(1);

/// Plays the steps of a script, which are separated by `·` or line ends.
pub fn play(script: &str) -> String {
    let mut stage = Stage::new();
    let steps = script.split(['·', '\n']).map(str::trim).filter(|step| !step.is_empty());
    let lines: Vec<(&str, String)> = steps.map(|step| (step, stage.step(step))).collect();
    let width = lines.iter().map(|(step, _)| step.len()).max().unwrap_or(0);
    lines.iter().map(|(step, outcome)| format!("{step:width$} -> {outcome}\n")).collect()
}

struct Stage {
    world: World,
    now: i64,
    made: u64,
    grants: Vec<(Id, usize)>,
    debits: Vec<(Id, usize)>,
    holds: Vec<(Id, usize)>,
}

/// The words of one step, taken from the front.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }

    /// The word after this one, if it is there; both are taken.
    fn after(&mut self, word: &str) -> Option<&'a str> {
        let place = self.0.iter().position(|known| *known == word)?;
        self.0.remove(place);
        Some(self.0.remove(place))
    }

    fn has(&mut self, word: &str) -> bool {
        let place = self.0.iter().position(|known| *known == word);
        place.map(|place| self.0.remove(place)).is_some()
    }

    /// The next word, if it is a number.
    fn amount(&mut self) -> Option<Amount> {
        let amount = self.0.first()?.parse().ok()?;
        self.0.remove(0);
        Some(Amount(amount))
    }

    fn time(&mut self, word: &str) -> Option<i64> {
        self.after(word).map(duration)
    }
}

/// `10s`, `5m`, `2h` or `8d` in microseconds.
fn duration(text: &str) -> i64 {
    let (count, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => panic!("no duration: {text}"),
    };
    count.parse::<i64>().expect("a number") * seconds * SECOND
}

impl Stage {
    fn new() -> Stage {
        let wallets =
            [Owner::User(USER), Owner::Pool(1)].map(|owner| Wallet::new(TENANT, owner, Unit::credit()));
        let messages = Wallet::new(TENANT, Owner::User(USER), sms());
        let wallets = wallets.into_iter().chain([messages]).collect();
        let world = World::new(catalogue(), wallets);
        Stage {
            world,
            now: 1_000 * SECOND,
            made: 0,
            grants: Vec::new(),
            debits: Vec::new(),
            holds: Vec::new(),
        }
    }

    fn step(&mut self, step: &str) -> String {
        let mut words = Words(step.split_whitespace().collect());
        let verb = words.next().expect("a step has a word");
        match verb {
            "wait" => self.now += duration(words.next().expect("how long")),
            "active" => self.world.standing = Standing::Active,
            "suspend" => self.world.standing = Standing::Suspended,
            "freeze_spending" => self.world.standing = Standing::Frozen,
            "ask_above" => {
                let above = words.amount().expect("above how much");
                self.world.asked_above = [(Unit::credit().code, above)].into_iter().collect();
            }
            "close" => self.world.standing = Standing::Closed,
            "limit" => self.limit(&mut words),
            _ => {
                let (which, movement) = self.movement(verb, &mut words);
                assert!(words.0.is_empty(), "not understood in {step:?}: {:?}", words.0);
                return self.ask(&which, movement);
            }
        }
        self.left()
    }

    /// At most so much in a period, of one action where one is named.
    fn limit(&mut self, words: &mut Words<'_>) {
        let amount = words.amount().expect("how much");
        let period = words.after("per").expect("a period");
        let period = Period::ALL.into_iter().find(|known| known.name() == period).expect("a period");
        let action = words.after("on").map(number);
        let (whose, unit) = (Whose::Each, Unit::credit().code);
        let id = Limit::id_of(TENANT, whose, action, &unit, period);
        let (enforced, alert_at) = (true, Vec::new());
        let limit = Limit { id, tenant: TENANT, whose, action, unit, amount, period, enforced, alert_at };
        self.world.catalogue = self.world.catalogue.clone().with_limits([limit]);
    }

    fn ask(&mut self, which: &[usize], movement: Movement) -> String {
        self.made += 1;
        let command = Command {
            id: Id::new(self.made, 0),
            tenant: TENANT,
            user: Some(USER),
            actor: Actor { kind: ActorKind::ApiKey, no: 1 },
            occurred_at: Timestamp(self.now),
            text_digest: None,
            movement,
        };
        match self.world.run(which, &command, Timestamp(self.now)) {
            Ok(decision) => {
                self.name(&command, &decision);
                format!("{}{}", self.left(), beside(&decision.entries))
            }
            Err(rejection) => refusal(&rejection),
        }
    }

    fn name(&mut self, command: &Command, decision: &Decision) {
        let wallet = self.world.wallets.iter().position(|wallet| wallet.key.id == decision.receipt.wallet);
        let made = (command.id, wallet.expect("a wallet of the tenant"));
        match command.movement {
            Movement::Grant(_) => self.grants.push(made),
            Movement::Debit(_) => self.debits.push(made),
            Movement::PlaceHold(_) => self.holds.push(made),
            _ => {}
        }
    }

    /// The thing that a script calls `g1`, `d2` or `h3`, and its wallet; something unknown for other names.
    fn named(&self, name: &str) -> (Id, usize) {
        let (kind, number) = name.split_at(1);
        let list = match kind {
            "g" => &self.grants,
            "d" => &self.debits,
            "h" => &self.holds,
            _ => return (Id(0xdead), 0),
        };
        let place = number.parse::<usize>().expect("a number").wrapping_sub(1);
        list.get(place).copied().unwrap_or((Id(0xdead), 0))
    }

    fn movement(&self, verb: &str, words: &mut Words<'_>) -> (Vec<usize>, Movement) {
        let all = vec![0, 1, 2];
        match verb {
            "grant" => self.grant(words),
            "debit" | "settle" | "call" => {
                let wallet = words.after("from").map(|name| self.world.wallets[place(name)].key.id);
                let unit = words.after("in").map(|code| Key::parse(code).expect("a key"));
                let action = if verb == "call" { words.next().expect("an action") } else { "work" };
                let usage = usage(action, words);
                // Candidates come in the order of the action's units; `text` is paid in messages before credits.
                let which = if action == "text" { vec![2, 0, 1] } else { all };
                (
                    which,
                    Movement::Debit(Debit {
                        action: number(action),
                        usage,
                        unit,
                        wallet,
                        settle: verb == "settle",
                        quote: None,
                    }),
                )
            }
            "refund" => {
                let (debit, wallet) = self.named(words.next().expect("which"));
                (vec![wallet], Movement::Refund(Refund { debit, amount: words.amount() }))
            }
            "revoke" => {
                let (lot, wallet) = self.named(words.next().expect("which"));
                (vec![wallet], Movement::Revoke(Revoke { lot, amount: words.amount() }))
            }
            "hold" => {
                let action = words.after("on").unwrap_or("work");
                let expires_in = words.time("for").unwrap_or(900 * SECOND);
                let usage = Usage::Amount(words.amount().expect("how much"));
                let hold = PlaceHold {
                    action: number(action),
                    usage,
                    unit: None,
                    wallet: None,
                    expires_in,
                    quote: None,
                };
                (all, Movement::PlaceHold(hold))
            }
            "extend" => {
                let (hold, wallet) = self.named(words.next().expect("which"));
                let (expires_in, usage) = (words.time("for"), words.after("to"));
                let usage = usage.map(|amount| Usage::Amount(Amount(amount.parse().expect("a number"))));
                (vec![wallet], Movement::ExtendHold(ExtendHold { hold, expires_in, usage }))
            }
            "capture" => {
                let (hold, wallet) = self.named(words.next().expect("which"));
                let (settle, usage) = (words.has("settle"), words.amount().map(Usage::Amount));
                (vec![wallet], Movement::CaptureHold(CaptureHold { hold, usage, settle }))
            }
            "release" => {
                let (hold, wallet) = self.named(words.next().expect("which"));
                (vec![wallet], Movement::ReleaseHold { hold })
            }
            "transfer" => {
                let from = words.after("from").map_or(0, place);
                let to = words.after("to").map_or(1, place);
                (vec![from, to], Movement::Transfer { amount: words.amount().expect("how much") })
            }
            "freeze" | "reverse" => {
                let cause = cause(words.next().expect("a cause"));
                let origin = cause_of_purchase(words.after("of").expect("a purchase"));
                let amount = words.amount().expect("how much");
                let buyer = self.world.wallets[0].key.id;
                let movement = match verb {
                    "freeze" => Movement::Freeze(Freeze { cause, origin, amount }),
                    _ => Movement::Reverse(Reverse { cause, origin, amount, buyer }),
                };
                (all, movement)
            }
            "thaw" => (all, Movement::Thaw { cause: cause(words.next().expect("a cause")) }),
            "reinstate" => (all, Movement::Reinstate { cause: cause(words.next().expect("a cause")) }),
            "sweep" => (all, Movement::Sweep),
            other => panic!("no such step: {other}"),
        }
    }

    fn grant(&self, words: &mut Words<'_>) -> (Vec<usize>, Movement) {
        let kind = match (words.has("paid"), words.has("adjustment")) {
            (true, _) => GrantKind::Paid,
            (_, true) => GrantKind::Adjustment,
            _ => GrantKind::Promotional,
        };
        let sen = words.after("costing").map(|sen| sen.parse().expect("a number"));
        let grant = Grant {
            kind,
            priority: words.after("priority").map_or(0, |text| text.parse().expect("a number")),
            effective_at: words.time("in").map(|after| Timestamp(self.now + after)),
            expires_at: words.time("until").map(|after| Timestamp(self.now + after)),
            paid: sen.map(|minor| Money { minor, currency: Currency::parse("MYR").expect("listed") }),
            origin: words.after("of").map(cause_of_purchase),
            amount: Amount::ZERO,
        };
        let wallet = words.after("to").map_or(0, place);
        let amount = words.amount().expect("how much");
        (vec![wallet], Movement::Grant(Grant { amount, ..grant }))
    }

    /// What is left in each wallet that was ever used, as a reader would see it now.
    fn left(&self) -> String {
        let now = Timestamp(self.now);
        let wallets = self.world.wallets.iter().zip(["", "pool ", "sms "]);
        let used = wallets.filter(|(wallet, name)| name.is_empty() || wallet.seq > 0);
        let texts: Vec<String> = used
            .map(|(wallet, name)| {
                let balance = project(wallet, now).balance(now);
                let rest = [
                    ("held", balance.held),
                    ("pending", balance.pending),
                    ("frozen", balance.frozen),
                    ("debt", balance.debt),
                ];
                let rest = rest.iter().filter(|(_, amount)| !amount.is_zero());
                let rest: String = rest.map(|(word, amount)| format!(", {word} {amount:?}")).collect();
                format!("{name}{:?} left{rest}", balance.available)
            })
            .collect();
        texts.join("; ")
    }
}

/// What was booked by rule beside the command itself.
fn beside(entries: &[Entry]) -> String {
    let by_rule = entries.iter().filter(|entry| entry.actor == Actor::WORKER);
    let texts: Vec<String> = by_rule
        .map(|entry| {
            let moved: i64 = entry
                .allocations
                .iter()
                .map(|part| part.amount.0.abs() + part.held.0.abs() + part.frozen.0.abs())
                .max()
                .unwrap_or(0);
            format!("{} {moved}", entry.kind.name())
        })
        .collect();
    if texts.is_empty() { String::new() } else { format!(" [{}]", texts.join(", ")) }
}

fn refusal(rejection: &Rejection) -> String {
    let numbers = match rejection {
        Rejection::InsufficientCredits { required, available, .. } => {
            format!(" (needs {required:?}, has {available:?})")
        }
        Rejection::LimitReached { amount, used, required, .. } => {
            format!(" (needs {required:?}, used {used:?} of {amount:?})")
        }
        Rejection::ConfirmationRequired { required, above, .. } => {
            format!(" (needs {required:?}, asked above {above:?})")
        }
        Rejection::CaptureExceedsHold { held, required, capturable, .. } => {
            format!(" (needs {required:?}, holds {held:?}, at most {capturable:?})")
        }
        Rejection::RefundExceedsDebit { refundable, .. } => format!(" (at most {refundable:?})"),
        Rejection::RevokeExceedsUnspent { revocable, .. } => format!(" (at most {revocable:?})"),
        Rejection::HoldClosed { state } => format!(" ({})", state.name()),
        Rejection::UsageInvalid { misfit: Misfit::UnknownDimension(name) } => format!(" ({name})"),
        _ => String::new(),
    };
    format!("{}{numbers}", rejection.code())
}

fn place(name: &str) -> usize {
    ["user", "pool", "sms"].iter().position(|known| *known == name).expect("a wallet")
}

fn cause(name: &str) -> Id {
    Id(name.bytes().fold(0xcc, |id, byte| id << 8 | u128::from(byte)))
}

fn cause_of_purchase(name: &str) -> Id {
    Id(name.bytes().fold(0xaa, |id, byte| id << 8 | u128::from(byte)))
}

fn sms() -> Unit {
    Unit { code: Key::parse("sms").expect("a key"), scale: Scale::new(0).expect("a scale") }
}

/// The usage that a script states for an action.
fn usage(action: &str, words: &mut Words<'_>) -> Usage {
    match (action, words.after("tokens"), words.after("seconds")) {
        ("model", tokens, seconds) => {
            let named = [("seconds", seconds), ("tokens", tokens)];
            let stated = named.into_iter().filter_map(|(name, count)| Some((name, count?)));
            Usage::Dimensions(
                stated
                    .map(|(name, count)| {
                        (name.into(), Quantity(count.parse::<i64>().expect("a number") * 1_000_000))
                    })
                    .collect(),
            )
        }
        _ => Usage::Quantity(
            words.amount().map_or(Quantity::ONE, |amount| Quantity(amount.0.saturating_mul(1_000_000))),
        ),
    }
}

/// The number of an action: `scan` costs 5, `work` one for each; `loose` and `elastic` are work whose captures may go
/// beyond the hold; `model` costs 2 a token; `text` is paid in messages, else in credits; `gone` is switched off. More than 500 of `work` is
/// asked about.
fn number(action: &str) -> u64 {
    let known = ["scan", "work", "loose", "elastic", "model", "text", "gone", "gift"];
    known.iter().position(|name| *name == action).map_or(99, |place| place as u64 + 1)
}

fn catalogue() -> Catalogue {
    let millionth = |times: i64| Rate { rate: Decimal(1_000_000 * times), per: 1 };
    let each = || Model::PerQuantity { rate: millionth(1), bounds: Bounds::default() };
    let action = |name: &str, overage: Overage, model: Model| Action {
        no: number(name),
        key: Key::parse(name).expect("a key"),
        active: name != "gone",
        confirm_above: Thresholds::default(),
        overage,
        units: vec![Unit::credit().code],
        prices: vec![Price {
            id: Id(number(name).into()),
            unit: Unit::credit().code,
            valid_from: Timestamp(0),
            model,
        }],
    };
    let flat = |amount: i64| Model::Flat { amount: Amount(amount) };
    let tokens =
        Model::PerDimension { rates: vec![("tokens".into(), millionth(2))], bounds: Bounds::default() };
    let mut text = action("text", Overage::Refuse, flat(4));
    text.units.insert(0, sms().code);
    text.prices.push(Price { id: Id(0x51), unit: sms().code, valid_from: Timestamp(0), model: flat(1) });
    let mut work = action("work", Overage::Refuse, each());
    work.confirm_above = [(Unit::credit().code, Amount(500))].into_iter().collect();
    let actions = [
        action("scan", Overage::Refuse, flat(5)),
        work,
        action("loose", Overage::Debt, each()),
        action("elastic", Overage::Allow { percent: 50 }, each()),
        action("model", Overage::Refuse, tokens),
        text,
        action("gone", Overage::Refuse, flat(1)),
        action("gift", Overage::Refuse, Model::Free),
    ];
    Catalogue::new([sms()], actions)
}

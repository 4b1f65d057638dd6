//! The steps of generated stories, and how often each comes up.

use super::{QuoteSeed, UsageSeed};
use proptest::prelude::*;
use purser_core::decide::Standing;
use purser_core::entry::GrantKind;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Chooses one of the things that exist by then.
#[derive(Clone, Copy, Debug)]
pub struct Pick(pub u8);

/// A generated grant.
#[derive(Clone, Debug)]
pub struct GrantSeed {
    pub wallet: u8,
    pub amount: i64,
    pub kind: GrantKind,
    pub priority: i32,
    pub effective_in: Option<i64>,
    pub expires_in: Option<i64>,
    pub paid: Option<i64>,
    pub origin: Option<u8>,
}

/// What one step does.
#[derive(Clone, Debug)]
pub enum Op {
    Grant(GrantSeed),
    Revoke {
        lot: Pick,
        amount: Option<i64>,
    },
    Debit {
        action: u64,
        usage: UsageSeed,
        unit: Option<bool>,
        wallet: Option<u8>,
        settle: bool,
        late: i64,
        quote: Option<QuoteSeed>,
    },
    Refund {
        debit: Pick,
        amount: Option<i64>,
    },
    Place {
        action: u64,
        usage: UsageSeed,
        wallet: Option<u8>,
        expires_in: i64,
        quote: Option<QuoteSeed>,
    },
    Extend {
        hold: Pick,
        expires_in: Option<i64>,
        usage: Option<i64>,
    },
    Capture {
        hold: Pick,
        usage: Option<i64>,
        settle: bool,
    },
    Release {
        hold: Pick,
    },
    Transfer {
        from: u8,
        to: u8,
        amount: i64,
    },
    Freeze {
        cause: u8,
        origin: u8,
        amount: i64,
    },
    Thaw {
        cause: u8,
    },
    Reverse {
        cause: u8,
        origin: u8,
        amount: i64,
        buyer: u8,
    },
    Reinstate {
        cause: u8,
    },
    Sweep,
    Standing(Standing),
}

/// One step and the time that passes before it.
#[derive(Clone, Debug)]
pub struct Stride {
    pub after: i64,
    pub op: Op,
}

/// A story of up to `most` steps.
pub fn any_steps(most: usize) -> impl Strategy<Value = Vec<Stride>> {
    prop::collection::vec((passing(), any_op()).prop_map(|(after, op)| Stride { after, op }), 1..most)
}

fn passing() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => Just(0),
        12 => (0..5_i64).prop_map(|seconds| seconds * SECOND),
        3 => 0..20 * SECOND,
        1 => Just(DAY),
        1 => (1..9_i64).prop_map(|days| days * DAY),
    ]
}

/// How long lots and holds live, on the scale of the time that passes, so that ends meet.
fn life() -> impl Strategy<Value = i64> {
    prop_oneof![
        16 => (1..30_i64).prop_map(|seconds| seconds * SECOND),
        4 => Just(DAY),
        2 => 0..2 * DAY,
        1 => Just(0),
    ]
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![40 => 1..40_i64, 8 => 40..200_i64, 1 => -1..1_i64]
}

/// Most things happen in the first two wallets, which are of one unit.
fn any_wallet() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0_u8), 3 => Just(1_u8), 1 => Just(2_u8)]
}

fn any_pick() -> impl Strategy<Value = Pick> {
    any::<u8>().prop_map(Pick)
}

fn any_usage() -> impl Strategy<Value = UsageSeed> {
    (0..9_000_000_i64, 0..3_000_000_i64, 0..40_u8).prop_map(|(one, two, odd)| UsageSeed { one, two, odd })
}

/// One in five brings a quote.
fn any_quote() -> impl Strategy<Value = Option<QuoteSeed>> {
    let quote = (prop_oneof![9 => 0..30_i64, 1 => 30..200_i64], 0..12_u8, any::<bool>());
    let quote = quote.prop_map(|(amount, odd, messages)| QuoteSeed { amount, odd, messages });
    prop::option::weighted(0.2, quote)
}

fn any_action() -> impl Strategy<Value = u64> {
    prop_oneof![10 => 1..=3_u64, 1 => Just(4_u64), 1 => 5..=7_u64, 1 => Just(6_u64)]
}

fn any_grant() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![
        2 => Just(GrantKind::Paid), 1 => Just(GrantKind::Promotional), 1 => Just(GrantKind::Adjustment)
    ];
    let money = prop::option::weighted(0.6, prop_oneof![0..30_i64, 0..5_000_i64]);
    let times = (prop::option::weighted(0.2, -10 * SECOND..20 * SECOND), prop::option::weighted(0.5, life()));
    let given = prop_oneof![20 => 1..40_i64, 20 => 40..300_i64, 1 => -1..1_i64];
    let parts = (any_wallet(), given, kind, -1..2_i32, times, money, prop::option::weighted(0.7, 1..3_u8));
    parts.prop_map(|(wallet, amount, kind, priority, (effective_in, expires_in), paid, origin)| {
        Op::Grant(GrantSeed { wallet, amount, kind, priority, effective_in, expires_in, paid, origin })
    })
}

fn any_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        8 => Just(Standing::Active), 1 => Just(Standing::Frozen), 1 => Just(Standing::Suspended), 1 => Just(Standing::Closed)
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let some = |weight: f64| prop::option::weighted(weight, amount());
    let chosen = |weight: f64| prop::option::weighted(weight, any_wallet());
    let debit = (any_action(), any_usage(), prop::option::weighted(0.1, any::<bool>()), chosen(0.2));
    let late = prop_oneof![3 => Just(0), 1 => 0..20 * SECOND];
    let debit = (debit, prop::bool::weighted(0.25), late, any_quote());
    let place = (any_action(), any_usage(), chosen(0.2), life(), any_quote());
    let cause = || 0..4_u8;
    prop_oneof![
        12 => any_grant(),
        3 => (any_pick(), some(0.6)).prop_map(|(lot, amount)| Op::Revoke { lot, amount }),
        14 => debit.prop_map(|((action, usage, unit, wallet), settle, late, quote)| {
            Op::Debit { action, usage, unit, wallet, settle, late, quote }
        }),
        6 => (any_pick(), some(0.6)).prop_map(|(debit, amount)| Op::Refund { debit, amount }),
        12 => place.prop_map(|(action, usage, wallet, expires_in, quote)| {
            Op::Place { action, usage, wallet, expires_in, quote }
        }),
        6 => (any_pick(), prop::option::of(life()), some(0.7)).prop_map(|(hold, expires_in, usage)| {
            Op::Extend { hold, expires_in, usage }
        }),
        9 => (any_pick(), some(0.7), prop::bool::weighted(0.3)).prop_map(|(hold, usage, settle)| {
            Op::Capture { hold, usage, settle }
        }),
        3 => any_pick().prop_map(|hold| Op::Release { hold }),
        6 => (any_wallet(), any_wallet(), amount()).prop_map(|(from, to, amount)| Op::Transfer { from, to, amount }),
        4 => (cause(), 1..3_u8, amount()).prop_map(|(cause, origin, amount)| Op::Freeze { cause, origin, amount }),
        3 => cause().prop_map(|cause| Op::Thaw { cause }),
        4 => (cause(), 1..3_u8, amount(), any_wallet()).prop_map(|(cause, origin, amount, buyer)| {
            Op::Reverse { cause, origin, amount, buyer }
        }),
        3 => cause().prop_map(|cause| Op::Reinstate { cause }),
        2 => Just(Op::Sweep),
        1 => any_standing().prop_map(Op::Standing),
    ]
}

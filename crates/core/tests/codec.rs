//! The byte encodings: whatever can be said comes back as it was said, and bytes that say nothing are refused.

use proptest::prelude::*;
use purser_core::catalogue::Unit;
use purser_core::codec::{
    decode_allocations, decode_charge, decode_hold_terms, decode_receipt, decode_terms, encode_allocations,
    encode_charge, encode_hold_terms, encode_receipt, encode_terms,
};
use purser_core::counter::{Counted, Measure, Span};
use purser_core::entry::{Breakage, Charge, GrantKind, HoldTerms, LotTerms, Returned, Usage};
use purser_core::limit::Alert;
use purser_core::pricing::{Discount, Footing};
use purser_core::receipt::{Detail, Receipt};
use purser_core::wallet::HoldState;
use purser_core::{
    Allocation, Amount, Balance, Currency, Id, Key, Money, Quantity, Scale, Target, TenantNo, Terms,
    Timestamp, UserNo, WalletId,
};

fn id() -> impl Strategy<Value = Id> {
    any::<u128>().prop_map(Id)
}

fn amount() -> impl Strategy<Value = Amount> {
    any::<i64>().prop_map(Amount)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn kind() -> impl Strategy<Value = GrantKind> {
    prop::sample::select(vec![GrantKind::Promotional, GrantKind::Adjustment, GrantKind::Paid])
}

fn list<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(of, 0..4)
}

fn allocation() -> impl Strategy<Value = Allocation> {
    let target = prop_oneof![id().prop_map(Target::Lot), any::<u64>().prop_map(Target::Debt)];
    (target, amount(), amount(), amount(), any::<i64>())
        .prop_map(|(target, amount, held, frozen, money)| Allocation { target, amount, held, frozen, money })
}

fn usage() -> impl Strategy<Value = Usage> {
    let quantity = || any::<i64>().prop_map(Quantity);
    prop_oneof![
        quantity().prop_map(Usage::Quantity),
        amount().prop_map(Usage::Amount),
        list(("\\PC{0,12}", quantity())).prop_map(Usage::Dimensions),
    ]
}

fn charge() -> impl Strategy<Value = Charge> {
    let used_before = prop::option::of(any::<i64>().prop_map(Quantity));
    let discount = (0..=10_000_u16).prop_map(|points| Discount::new(points).expect("at most all of it"));
    let footing =
        (used_before, discount).prop_map(|(used_before, discount)| Footing { used_before, discount });
    let beside = (footing, prop::option::of(id()), list(counted()), list(alert()));
    let parts = (any::<u64>(), prop::option::of(id()), usage(), amount(), any::<bool>());
    // Most charges are plain.
    (parts, prop::option::weighted(0.4, beside)).prop_map(|((action, price, usage, cost, settle), beside)| {
        let (footing, quote, counted, alerts) = beside.unwrap_or_default();
        Charge { action, price, usage, cost, settle, footing, quote, counted, alerts }
    })
}

fn alert() -> impl Strategy<Value = Alert> {
    (id(), any::<u8>(), amount(), amount()).prop_map(|(limit, percent, used, amount)| Alert {
        limit,
        percent,
        used,
        amount,
    })
}

fn counted() -> impl Strategy<Value = Counted> {
    let measure = prop::sample::select(vec![Measure::Amount, Measure::Quantity]);
    (id(), id(), time(), time(), measure).prop_map(|(rule, subject, from, until, measure)| Counted {
        rule,
        subject,
        span: Span { from, until },
        measure,
    })
}

fn lot() -> impl Strategy<Value = LotTerms> {
    let currency = prop::sample::select(vec!["MYR", "JPY", "KWD"]);
    let money = (any::<i64>(), currency)
        .prop_map(|(minor, code)| Money { minor, currency: Currency::parse(code).expect("listed") });
    let times = (time(), prop::option::of(time()));
    let line = (prop::option::of(id()), prop::option::of(id()));
    (id(), kind(), any::<i32>(), times, amount(), prop::option::of(money), line).prop_map(
        |(id, kind, priority, (effective_at, expires_at), granted, paid, (origin, parent))| LotTerms {
            id,
            kind,
            priority,
            effective_at,
            expires_at,
            granted,
            paid,
            origin,
            parent,
        },
    )
}

fn hold_terms() -> impl Strategy<Value = HoldTerms> {
    (charge(), time(), time()).prop_map(|(charge, expires_at, ends_at)| HoldTerms {
        charge,
        expires_at,
        ends_at,
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let wallet = || id().prop_map(WalletId);
    let returned = || {
        list((any::<u64>(), any::<u32>(), amount(), any::<i64>())).prop_map(|all| {
            all.into_iter()
                .map(|(seq, index, amount, money)| Returned { seq, index, amount, money })
                .collect()
        })
    };
    let breakage = || {
        list((id(), amount(), any::<i64>())).prop_map(|all| {
            all.into_iter().map(|(lot, amount, money)| Breakage { lot, amount, money }).collect()
        })
    };
    prop_oneof![
        Just(Terms::None),
        lot().prop_map(Terms::Grant),
        charge().prop_map(Terms::Charge),
        hold_terms().prop_map(Terms::Hold),
        (returned(), list(lot())).prop_map(|(returned, lots)| Terms::Refund { returned, lots }),
        list((id(), amount())).prop_map(|wants| Terms::Freeze { wants }),
        (id(), breakage()).prop_map(|(origin, breakage)| Terms::Reverse { origin, breakage }),
        (returned(), list(lot()), breakage()).prop_map(|(returned, lots, breakage)| Terms::Reinstate {
            returned,
            lots,
            breakage
        }),
        wallet().prop_map(|peer| Terms::TransferOut { peer }),
        (wallet(), list(lot())).prop_map(|(peer, lots)| Terms::TransferIn { peer, lots }),
    ]
}

fn balance() -> impl Strategy<Value = Balance> {
    prop::array::uniform7(amount()).prop_map(
        |[settled, held, available, pending, frozen, debt, last_topup]| Balance {
            settled,
            held,
            available,
            pending,
            frozen,
            debt,
            last_topup,
        },
    )
}

fn detail() -> impl Strategy<Value = Detail> {
    let state = prop::sample::select(vec![
        HoldState::Active,
        HoldState::Captured,
        HoldState::Released,
        HoldState::Expired,
    ]);
    prop_oneof![
        Just(Detail::Plain),
        (kind(), prop::option::of(time())).prop_map(|(kind, expires_at)| Detail::Grant { kind, expires_at }),
        id().prop_map(|grant| Detail::Revoke { grant }),
        charge().prop_map(|charge| Detail::Debit { charge }),
        (id(), amount()).prop_map(|(debit, refunded)| Detail::Refund { debit, refunded }),
        (state, amount(), amount(), time(), charge()).prop_map(
            |(state, held, captured, expires_at, charge)| {
                Detail::Hold { state, held, captured, expires_at, charge }
            }
        ),
        (id(), balance())
            .prop_map(|(peer, peer_balance)| Detail::Transfer { peer: WalletId(peer), peer_balance }),
    ]
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let unit = ("[!-~&&[^/\\\\?#%\"<>]]{1,20}", 0_u8..=6).prop_map(|(code, decimals)| Unit {
        code: Key::parse(&code).expect("made of allowed characters"),
        scale: Scale::new(decimals).expect("at most six"),
    });
    let ids = (any::<u64>(), id(), id(), id(), prop::option::of(any::<u64>()));
    (ids, unit, amount(), balance(), time(), detail()).prop_map(
        |((tenant, id, wallet, entry, user), unit, amount, balance, recorded_at, detail)| Receipt {
            tenant: TenantNo(tenant),
            id,
            wallet: WalletId(wallet),
            unit,
            entry,
            user: user.map(UserNo),
            amount,
            balance,
            recorded_at,
            detail,
        },
    )
}

/// What was hashed before there were counters: byte for byte.
#[test]
fn a_charge_that_counts_nowhere_is_written_as_it_always_was() {
    let mut bytes = vec![1, 2];
    bytes.extend(7_u64.to_le_bytes());
    bytes.push(1);
    bytes.extend(9_u128.to_le_bytes());
    bytes.push(1);
    bytes.extend(1_000_000_i64.to_le_bytes());
    bytes.extend(5_i64.to_le_bytes());
    bytes.push(1);
    let plain = Charge::plain(7, Some(Id(9)), Usage::Quantity(Quantity::ONE), Amount(5));
    let charge = Charge { settle: true, ..plain };
    assert_eq!(encode_terms(&Terms::Charge(charge.clone())), bytes);
    assert_eq!(decode_terms(&bytes), Ok(Terms::Charge(charge.clone())));
    // The later layout is for charges that are not plain: no used quantity, a discount of 2.58 %, no quote, counters or alerts.
    let later = |discount: u8| [&[2], &bytes[1..], &[0, 2, discount], &[0; 9]].concat();
    let discounted =
        |points| Footing { discount: Discount::new(points).expect("a part"), ..Footing::default() };
    let less = Charge { footing: discounted(258), ..charge.clone() };
    assert_eq!(encode_terms(&Terms::Charge(less.clone())), later(1));
    assert_eq!(decode_terms(&later(1)), Ok(Terms::Charge(less)));
    // More than all of it, and a plain charge in the later layout, are no charges.
    assert!(decode_terms(&later(99)).is_err());
    assert!(decode_terms(&[&[2], &bytes[1..], &[0; 12]].concat()).is_err());
    let quoted = Charge { quote: Some(Id(3)), ..charge };
    let written = encode_terms(&Terms::Charge(quoted.clone()));
    assert_eq!((written[0], decode_terms(&written)), (2, Ok(Terms::Charge(quoted))));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        allocations in list(allocation()), terms in terms(), charge in charge(), hold in hold_terms(), receipt in receipt()
    ) {
        prop_assert_eq!(decode_allocations(&encode_allocations(&allocations)), Ok(allocations));
        prop_assert_eq!(decode_terms(&encode_terms(&terms)), Ok(terms));
        prop_assert_eq!(decode_charge(&encode_charge(&charge)), Ok(charge));
        prop_assert_eq!(decode_hold_terms(&encode_hold_terms(&hold)), Ok(hold));
        prop_assert_eq!(decode_receipt(&encode_receipt(&receipt)), Ok(receipt));
    }

    #[test]
    fn cut_or_lengthened_bytes_are_refused(
        terms in terms(), receipt in receipt(), allocations in list(allocation()), cut in any::<prop::sample::Index>()
    ) {
        let (terms, receipt, allocations) = (encode_terms(&terms), encode_receipt(&receipt), encode_allocations(&allocations));
        prop_assert!(decode_terms(&terms[..cut.index(terms.len())]).is_err());
        prop_assert!(decode_receipt(&receipt[..cut.index(receipt.len())]).is_err());
        prop_assert!(decode_allocations(&allocations[..cut.index(allocations.len())]).is_err());
        let longer = |bytes: &[u8]| [bytes, &[0]].concat();
        prop_assert!(decode_terms(&longer(&terms)).is_err());
        prop_assert!(decode_receipt(&longer(&receipt)).is_err());
        prop_assert!(decode_allocations(&longer(&allocations)).is_err());
    }

    #[test]
    fn a_changed_byte_is_refused_or_says_something_else(
        terms in terms(), receipt in receipt(), place in any::<prop::sample::Index>(), bit in 0_u8..8
    ) {
        let flipped = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            bytes
        };
        if let Ok(other) = decode_terms(&flipped(&encode_terms(&terms))) {
            prop_assert_ne!(other, terms);
        }
        if let Ok(other) = decode_receipt(&flipped(&encode_receipt(&receipt))) {
            prop_assert_ne!(other, receipt);
        }
    }

    /// There is one encoding of each value: bytes that can be read are the bytes that would be written.
    #[test]
    fn arbitrary_bytes_are_refused_or_are_the_encoding_of_what_they_say(
        noise in prop::collection::vec(any::<u8>(), 0..120), version in 1_u8..=2, kind in 0_u8..12
    ) {
        let bytes = [&[version, kind], &noise[..]].concat();
        if let Ok(terms) = decode_terms(&bytes) {
            prop_assert_eq!(encode_terms(&terms), bytes.clone());
        }
        if let Ok(allocations) = decode_allocations(&bytes) {
            prop_assert_eq!(encode_allocations(&allocations), bytes.clone());
        }
        if let Ok(charge) = decode_charge(&bytes) {
            prop_assert_eq!(encode_charge(&charge), bytes.clone());
        }
        if let Ok(hold) = decode_hold_terms(&bytes) {
            prop_assert_eq!(encode_hold_terms(&hold), bytes.clone());
        }
        if let Ok(receipt) = decode_receipt(&bytes) {
            prop_assert_eq!(encode_receipt(&receipt), bytes);
        }
    }
}

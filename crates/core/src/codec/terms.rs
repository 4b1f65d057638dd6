//! Encoding of allocations, charges, hold terms and entry terms.

use super::{Reader, Undecodable, Writer};
use crate::amount::{Amount, Currency, Money, Quantity};
use crate::counter::{Counted, Measure, Span};
use crate::entry::{
    Allocation, Breakage, Charge, GrantKind, HoldTerms, LotTerms, Returned, Target, Terms, Usage,
};
use crate::id::{Id, WalletId};
use crate::limit::Alert;
use crate::pricing::{Discount, Footing};
use crate::time::Timestamp;

const VERSION: u8 = 1;
/// Version 2 of all that has a charge in it says what the charge goes by beside action, price and usage: a footing, a quote,
/// counters, alerts. Where there is none of them, version 1 is the one encoding there is.
const VERSION_FULL: u8 = 2;

/// The version that a charge is written in.
pub(super) fn version_of(charge: &Charge) -> u8 {
    let plain = charge.footing == Footing::default()
        && charge.quote.is_none()
        && charge.counted.is_empty()
        && charge.alerts.is_empty();
    if plain { VERSION } else { VERSION_FULL }
}

/// Encodes the allocations of one entry.
pub fn encode_allocations(allocations: &[Allocation]) -> Vec<u8> {
    let mut out = Writer::with_capacity(5 + allocations.len() * 49);
    out.u8(VERSION);
    out.count(allocations.len());
    for allocation in allocations {
        match allocation.target {
            Target::Lot(lot) => {
                out.u8(1);
                out.u128(lot.0);
            }
            Target::Debt(seq) => {
                out.u8(2);
                out.u64(seq);
            }
        }
        out.i64(allocation.amount.0);
        out.i64(allocation.held.0);
        out.i64(allocation.frozen.0);
        out.i64(allocation.money);
    }
    out.bytes
}

/// Reads the allocations of one entry.
pub fn decode_allocations(bytes: &[u8]) -> Result<Vec<Allocation>, Undecodable> {
    let mut from = versioned(bytes)?;
    let allocations = from.list(|from| {
        let target = match from.u8()? {
            1 => Target::Lot(Id(from.u128()?)),
            2 => Target::Debt(from.u64()?),
            _ => return Err(Undecodable),
        };
        Ok(Allocation {
            target,
            amount: Amount(from.i64()?),
            held: Amount(from.i64()?),
            frozen: Amount(from.i64()?),
            money: from.i64()?,
        })
    })?;
    from.end()?;
    Ok(allocations)
}

/// Encodes the terms of one entry.
pub fn encode_terms(terms: &Terms) -> Vec<u8> {
    let mut out = Writer::with_capacity(64);
    out.u8(match terms {
        Terms::Charge(charge) => version_of(charge),
        Terms::Hold(hold) => version_of(&hold.charge),
        _ => VERSION,
    });
    match terms {
        Terms::None => out.u8(0),
        Terms::Grant(lot) => {
            out.u8(1);
            write_lot(&mut out, lot);
        }
        Terms::Charge(charge) => {
            out.u8(2);
            write_charge(&mut out, charge);
        }
        Terms::Hold(hold) => {
            out.u8(3);
            write_hold(&mut out, hold);
        }
        Terms::Refund { returned, lots } => {
            out.u8(4);
            write_returned(&mut out, returned);
            write_lots(&mut out, lots);
        }
        Terms::Freeze { wants } => {
            out.u8(5);
            out.count(wants.len());
            for (lot, wanted) in wants {
                out.u128(lot.0);
                out.i64(wanted.0);
            }
        }
        Terms::Reverse { origin, breakage } => {
            out.u8(6);
            out.u128(origin.0);
            write_breakage(&mut out, breakage);
        }
        Terms::Reinstate { returned, lots, breakage } => {
            out.u8(7);
            write_returned(&mut out, returned);
            write_lots(&mut out, lots);
            write_breakage(&mut out, breakage);
        }
        Terms::TransferOut { peer } => {
            out.u8(8);
            out.u128(peer.0.0);
        }
        Terms::TransferIn { peer, lots } => {
            out.u8(9);
            out.u128(peer.0.0);
            write_lots(&mut out, lots);
        }
    }
    out.bytes
}

/// Reads the terms of one entry.
pub fn decode_terms(bytes: &[u8]) -> Result<Terms, Undecodable> {
    let (version, mut from) = charging(bytes)?;
    let from = &mut from;
    let terms = match from.u8()? {
        2 => Terms::Charge(read_charge(from, version)?),
        3 => Terms::Hold(read_hold(from, version)?),
        _ if version != VERSION => return Err(Undecodable),
        0 => Terms::None,
        1 => Terms::Grant(read_lot(from)?),
        4 => Terms::Refund { returned: read_returned(from)?, lots: from.list(read_lot)? },
        5 => Terms::Freeze { wants: from.list(|from| Ok((Id(from.u128()?), Amount(from.i64()?))))? },
        6 => Terms::Reverse { origin: Id(from.u128()?), breakage: read_breakage(from)? },
        7 => Terms::Reinstate {
            returned: read_returned(from)?,
            lots: from.list(read_lot)?,
            breakage: read_breakage(from)?,
        },
        8 => Terms::TransferOut { peer: WalletId(Id(from.u128()?)) },
        9 => Terms::TransferIn { peer: WalletId(Id(from.u128()?)), lots: from.list(read_lot)? },
        _ => return Err(Undecodable),
    };
    from.end()?;
    Ok(terms)
}

/// Encodes a charge on its own, for a row that keeps one.
pub fn encode_charge(charge: &Charge) -> Vec<u8> {
    let mut out = Writer::with_capacity(64);
    out.u8(version_of(charge));
    write_charge(&mut out, charge);
    out.bytes
}

/// Reads a charge kept on its own.
pub fn decode_charge(bytes: &[u8]) -> Result<Charge, Undecodable> {
    let (version, mut from) = charging(bytes)?;
    let charge = read_charge(&mut from, version)?;
    from.end()?;
    Ok(charge)
}

/// Encodes the terms of a hold on their own, for the hold's row.
pub fn encode_hold_terms(hold: &HoldTerms) -> Vec<u8> {
    let mut out = Writer::with_capacity(80);
    out.u8(version_of(&hold.charge));
    write_hold(&mut out, hold);
    out.bytes
}

/// Reads the terms of a hold kept on their own.
pub fn decode_hold_terms(bytes: &[u8]) -> Result<HoldTerms, Undecodable> {
    let (version, mut from) = charging(bytes)?;
    let hold = read_hold(&mut from, version)?;
    from.end()?;
    Ok(hold)
}

fn versioned(bytes: &[u8]) -> Result<Reader<'_>, Undecodable> {
    let mut from = Reader::new(bytes);
    if from.u8()? == VERSION { Ok(from) } else { Err(Undecodable) }
}

/// The version of something that has a charge in it, and what follows.
fn charging(bytes: &[u8]) -> Result<(u8, Reader<'_>), Undecodable> {
    let mut from = Reader::new(bytes);
    match from.u8()? {
        version @ (VERSION | VERSION_FULL) => Ok((version, from)),
        _ => Err(Undecodable),
    }
}

fn write_lots(out: &mut Writer, lots: &[LotTerms]) {
    out.count(lots.len());
    lots.iter().for_each(|lot| write_lot(out, lot));
}

fn write_lot(out: &mut Writer, lot: &LotTerms) {
    out.u128(lot.id.0);
    out.u8(lot.kind as u8);
    out.i32(lot.priority);
    out.i64(lot.effective_at.0);
    out.option(lot.expires_at, |out, at| out.i64(at.0));
    out.i64(lot.granted.0);
    out.option(lot.paid, |out, money| {
        out.raw(&money.currency.to_bytes());
        out.i64(money.minor);
    });
    out.option(lot.origin, |out, id| out.u128(id.0));
    out.option(lot.parent, |out, id| out.u128(id.0));
}

fn read_lot(from: &mut Reader<'_>) -> Result<LotTerms, Undecodable> {
    Ok(LotTerms {
        id: Id(from.u128()?),
        kind: GrantKind::from_number(from.u8()?).ok_or(Undecodable)?,
        priority: from.i32()?,
        effective_at: Timestamp(from.i64()?),
        expires_at: from.option(|from| Ok(Timestamp(from.i64()?)))?,
        granted: Amount(from.i64()?),
        paid: from.option(read_money)?,
        origin: from.option(|from| Ok(Id(from.u128()?)))?,
        parent: from.option(|from| Ok(Id(from.u128()?)))?,
    })
}

fn read_money(from: &mut Reader<'_>) -> Result<Money, Undecodable> {
    let code: [u8; 3] = from.array()?;
    let currency = std::str::from_utf8(&code).ok().and_then(Currency::parse).ok_or(Undecodable)?;
    Ok(Money { currency, minor: from.i64()? })
}

pub(super) fn write_charge(out: &mut Writer, charge: &Charge) {
    out.u64(charge.action);
    out.option(charge.price, |out, id| out.u128(id.0));
    match &charge.usage {
        Usage::Quantity(quantity) => {
            out.u8(1);
            out.i64(quantity.0);
        }
        Usage::Dimensions(dimensions) => {
            out.u8(2);
            out.count(dimensions.len());
            for (name, quantity) in dimensions {
                out.text(name);
                out.i64(quantity.0);
            }
        }
        Usage::Amount(amount) => {
            out.u8(3);
            out.i64(amount.0);
        }
    }
    out.i64(charge.cost.0);
    out.u8(u8::from(charge.settle));
    if version_of(charge) == VERSION_FULL {
        out.option(charge.footing.used_before, |out, used| out.i64(used.0));
        out.u16(charge.footing.discount.basis_points());
        out.option(charge.quote, |out, quote| out.u128(quote.0));
        out.count(charge.counted.len());
        for counted in &charge.counted {
            out.u128(counted.rule.0);
            out.u128(counted.subject.0);
            out.i64(counted.span.from.0);
            out.i64(counted.span.until.0);
            out.u8(counted.measure as u8);
        }
        out.count(charge.alerts.len());
        for alert in &charge.alerts {
            out.u128(alert.limit.0);
            out.u8(alert.percent);
            out.i64(alert.used.0);
            out.i64(alert.amount.0);
        }
    }
}

pub(super) fn read_charge(from: &mut Reader<'_>, version: u8) -> Result<Charge, Undecodable> {
    let mut charge = read_plain(from)?;
    match version {
        VERSION => {}
        VERSION_FULL => {
            charge.footing.used_before = from.option(|from| Ok(Quantity(from.i64()?)))?;
            charge.footing.discount = Discount::new(from.u16()?).ok_or(Undecodable)?;
            charge.quote = from.option(|from| Ok(Id(from.u128()?)))?;
            charge.counted = from.list(read_counted)?;
            charge.alerts = from.list(read_alert)?;
            if version_of(&charge) != VERSION_FULL {
                return Err(Undecodable);
            }
        }
        _ => return Err(Undecodable),
    }
    Ok(charge)
}

fn read_counted(from: &mut Reader<'_>) -> Result<Counted, Undecodable> {
    Ok(Counted {
        rule: Id(from.u128()?),
        subject: Id(from.u128()?),
        span: Span { from: Timestamp(from.i64()?), until: Timestamp(from.i64()?) },
        measure: Measure::from_number(from.u8()?).ok_or(Undecodable)?,
    })
}

fn read_alert(from: &mut Reader<'_>) -> Result<Alert, Undecodable> {
    let (limit, percent) = (Id(from.u128()?), from.u8()?);
    Ok(Alert { limit, percent, used: Amount(from.i64()?), amount: Amount(from.i64()?) })
}

fn read_plain(from: &mut Reader<'_>) -> Result<Charge, Undecodable> {
    Ok(Charge {
        action: from.u64()?,
        price: from.option(|from| Ok(Id(from.u128()?)))?,
        usage: match from.u8()? {
            1 => Usage::Quantity(Quantity(from.i64()?)),
            2 => Usage::Dimensions(from.list(|from| Ok((from.text()?, Quantity(from.i64()?))))?),
            3 => Usage::Amount(Amount(from.i64()?)),
            _ => return Err(Undecodable),
        },
        cost: Amount(from.i64()?),
        settle: from.bool()?,
        footing: Footing::default(),
        quote: None,
        counted: Vec::new(),
        alerts: Vec::new(),
    })
}

fn write_hold(out: &mut Writer, hold: &HoldTerms) {
    write_charge(out, &hold.charge);
    out.i64(hold.expires_at.0);
    out.i64(hold.ends_at.0);
}

fn read_hold(from: &mut Reader<'_>, version: u8) -> Result<HoldTerms, Undecodable> {
    Ok(HoldTerms {
        charge: read_charge(from, version)?,
        expires_at: Timestamp(from.i64()?),
        ends_at: Timestamp(from.i64()?),
    })
}

fn write_returned(out: &mut Writer, returned: &[Returned]) {
    out.count(returned.len());
    for part in returned {
        out.u64(part.seq);
        out.u32(part.index);
        out.i64(part.amount.0);
        out.i64(part.money);
    }
}

fn read_returned(from: &mut Reader<'_>) -> Result<Vec<Returned>, Undecodable> {
    from.list(|from| {
        Ok(Returned { seq: from.u64()?, index: from.u32()?, amount: Amount(from.i64()?), money: from.i64()? })
    })
}

fn write_breakage(out: &mut Writer, breakage: &[Breakage]) {
    out.count(breakage.len());
    for part in breakage {
        out.u128(part.lot.0);
        out.i64(part.amount.0);
        out.i64(part.money);
    }
}

fn read_breakage(from: &mut Reader<'_>) -> Result<Vec<Breakage>, Undecodable> {
    from.list(|from| Ok(Breakage { lot: Id(from.u128()?), amount: Amount(from.i64()?), money: from.i64()? }))
}

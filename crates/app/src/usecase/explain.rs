//! Why a debit cost what it cost, and what paid for it: read from its entry, its price version and its refunds.

use super::debit;
use crate::App;
use crate::caller::Caller;
use crate::error::AppError;
use crate::view::{DebitView, Explained, Given, Taken};
use purser_core::catalogue::Price;
use purser_core::entry::Usage;
use purser_core::pricing::Explanation;
use purser_core::{Amount, Entry, Money, Target};

/// Explains a debit. The arithmetic is carried out again by the rule book, on the version and usage that the entry
/// names, and has to come to what was charged.
pub async fn explain(app: &App, caller: &Caller, debit_id: &str) -> Result<Explained, AppError> {
    let (debit, refunds) = debit::look_up(app, caller, debit_id).await?;
    // Another node may have made the version a moment ago. Asked each time: only a debit that is there leads here.
    if !is_known(app, &debit) {
        app.catch_up().await?;
    }
    let priced = priced(app, &debit)?;
    let (lots, owed) = taken(app, &debit.entry).await?;
    let given = |entry: &Entry| Given { entry: entry.id(), amount: entry.amount, at: entry.recorded_at };
    let refunds = refunds.iter().map(given).collect();
    Ok(Explained { debit, priced, lots, owed, refunds })
}

/// Whether the price version of a debit is in this node's catalogue.
fn is_known(app: &App, debit: &DebitView) -> bool {
    let (catalogue, charge) = (app.catalogue(), &debit.charge);
    charge.price.is_none_or(|id| {
        let action = catalogue.action(charge.action);
        action.is_some_and(|action| catalogue.price(debit.entry.wallet.tenant, action, id).is_some())
    })
}

/// The version and its arithmetic; none where the caller stated the amount.
fn priced(app: &App, debit: &DebitView) -> Result<Option<(Price, Explanation)>, AppError> {
    let charge = &debit.charge;
    if matches!(charge.usage, Usage::Amount(_)) {
        return Ok(None);
    }
    let broken =
        |what: &str| AppError::Fault(format!("debit {:?} cannot be explained: {what}", debit.entry.subject));
    let catalogue = app.catalogue();
    let action = catalogue.action(charge.action).ok_or_else(|| broken("its action is unknown"))?;
    let price = charge
        .price
        .and_then(|id| catalogue.price(debit.entry.wallet.tenant, action, id))
        .ok_or_else(|| broken("its price is unknown"))?;
    let explanation = price.model.explain_on(charge.footing, &charge.usage, debit.unit.scale);
    let explanation = explanation.map_err(|_| broken("its price does not fit its usage"))?;
    if explanation.outcome.total != charge.cost {
        return Err(broken("its price comes to something else"));
    }
    Ok(Some((price.clone(), explanation)))
}

/// What the entry took from which lots, with the money recognised by it, and what it left as debt.
async fn taken(app: &App, entry: &Entry) -> Result<(Vec<Taken>, Amount), AppError> {
    let (mut lots, mut owed) = (Vec::new(), Amount::ZERO);
    for allocation in &entry.allocations {
        match allocation.target {
            Target::Debt(_) => owed += allocation.amount,
            // A capture names all lots of its hold, also those that it only unpinned.
            Target::Lot(_) if allocation.amount.is_zero() => {}
            Target::Lot(id) => {
                let lot = app.lot_now(entry.wallet.tenant, id).await?;
                let lot = lot.ok_or_else(|| AppError::Fault(format!("lot {id:?} is not there")))?;
                let money = lot.terms.paid.map(|paid| Money { minor: -allocation.money, ..paid });
                lots.push(Taken { lot: id, kind: lot.terms.kind, amount: -allocation.amount, money });
            }
        }
    }
    Ok((lots, owed))
}

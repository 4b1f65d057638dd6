//! What was answered before: the receipt under a key, or the debit that was made of an event.

use super::job::{Done, Job};
use purser_core::catalogue::Unit;
use purser_core::codec::decode_receipt;
use purser_core::entry::EntryKind;
use purser_core::receipt::Receipt;
use purser_core::{Rejection, TenantNo, WalletKey};
use purser_store::{Batch, KeyDigest, StoreError};

/// What was answered to the job's key or event before: the receipt, or a refusal when the key was used for another request.
pub(super) fn known_answer(
    batch: &Batch<'_>,
    job: &Job,
    unit_of: impl Fn(WalletKey) -> Result<Option<Unit>, StoreError>,
) -> Result<Option<Result<Done, Rejection>>, StoreError> {
    // A key says whether the request is the same, for as long as it is kept; the event outlives it.
    if let Some((key, request)) = &job.key
        && let Some(answer) = batch.answer(*key)?
    {
        if answer.request_digest != *request {
            return Ok(Some(Err(Rejection::IdempotencyConflict)));
        }
        let receipt = decode_receipt(&answer.receipt)?;
        return Ok(Some(Ok(Done { receipt, replayed: true })));
    }
    let Some(event) = job.event else { return Ok(None) };
    Ok(known_event(batch, job.command.tenant, event, unit_of)?.map(Ok))
}

/// What was made of an event before, read back from the entry of its debit. Events with the same source and id are one event,
/// so nothing of a request but these two is compared.
fn known_event(
    batch: &Batch<'_>,
    tenant: TenantNo,
    event: KeyDigest,
    unit_of: impl Fn(WalletKey) -> Result<Option<Unit>, StoreError>,
) -> Result<Option<Done>, StoreError> {
    let Some(debit) = batch.usage_event(tenant, event)? else { return Ok(None) };
    let history = batch.history(tenant, debit)?;
    let gone = || StoreError::Corrupt { what: format!("the debit {debit:?} of an event is gone") };
    let entry = history.iter().find(|entry| entry.kind == EntryKind::Debit).ok_or_else(gone)?;
    // Another node made it after this batch had looked for the wallet and before it looked for the event: the next try sees both.
    let unseen = || StoreError::Conflict { what: "an event was charged meanwhile".into() };
    let unit = unit_of(entry.wallet)?.ok_or_else(unseen)?;
    let receipt = Receipt::of_debit(entry, unit).ok_or_else(gone)?;
    Ok(Some(Done { receipt, replayed: true }))
}

/// What a wallet counts, from its row.
pub(super) fn stored_unit(batch: &Batch<'_>, key: WalletKey) -> Result<Option<Unit>, StoreError> {
    Ok(batch.wallet(key)?.map(|loaded| loaded.wallet.unit))
}

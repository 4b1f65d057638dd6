//! One file per thing a caller may do. Each function authorises, checks the ask field by field, and hands one command to
//! the engine or one question to the readers.

pub mod api_key;
pub mod catalogue;
pub mod copy;
pub mod debit;
pub mod discount;
pub mod event;
pub mod explain;
pub mod gate;
pub mod gate_rule;
pub mod grant;
pub mod hold;
pub mod limit;
pub mod preference;
pub mod report;
pub mod stream;
pub mod tenant_price;
pub mod transfer;
pub mod usage_event;
pub mod verify;
pub mod wallet;

use crate::App;
use crate::ask::{Idempotency, Remarks};
use crate::caller::Caller;
use crate::engine::{Done, Job, Outcome, Route};
use crate::error::AppError;
use crate::view::{Answered, Names};
use purser_core::catalogue::Action;
use purser_core::entry::Charge;
use purser_core::receipt::Detail;
use purser_core::{Command, Key, Movement, Rejection, TenantNo, Timestamp, UserNo};
use purser_store::KeyDigest;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A movement that is ready for the queue, but for what every movement has in common.
struct Order<'a> {
    tenant: TenantNo,
    user: Option<UserNo>,
    occurred_at: Timestamp,
    movement: Movement,
    route: Route,
    key: &'a Idempotency,
    remarks: &'a Remarks,
}

impl App {
    /// Queues a movement.
    fn submit(&self, caller: &Caller, order: Order<'_>) -> Result<oneshot::Receiver<Outcome>, AppError> {
        self.submit_once(caller, order, None)
    }

    /// Queues a movement that is also a fact, made once for ever: what its key says is forgotten some day.
    fn submit_once(
        &self,
        caller: &Caller,
        order: Order<'_>,
        event: Option<KeyDigest>,
    ) -> Result<oneshot::Receiver<Outcome>, AppError> {
        let key = self.key(order.tenant, order.key)?;
        let text = self.text(order.remarks)?;
        let command = Command {
            id: self.inner.ids.id(),
            tenant: order.tenant,
            user: order.user,
            actor: caller.actor(),
            occurred_at: order.occurred_at,
            text_digest: text.as_ref().map(purser_store::EntryText::digest),
            movement: order.movement,
        };
        let queued_at = self.inner.engine.monotonic();
        self.inner.engine.submit(Job { command, route: order.route, key: Some(key), event, text, queued_at })
    }

    /// Queues a movement and answers it with the names that belong to its numbers.
    async fn carry_out(
        &self,
        caller: &Caller,
        order: Order<'_>,
        names: Option<Names>,
    ) -> Result<Answered, AppError> {
        let outcome = self.submit(caller, order)?;
        self.answer(outcome, names).await
    }

    async fn answer(
        &self,
        outcome: oneshot::Receiver<Outcome>,
        names: Option<Names>,
    ) -> Result<Answered, AppError> {
        let stopped = || AppError::Unavailable {
            reason: "shutting_down",
            retry_after: std::time::Duration::from_secs(1),
        };
        let outcome = outcome.await.map_err(|_| stopped())?;
        self.named_answer(outcome, names).await
    }

    async fn named_answer(&self, outcome: Outcome, names: Option<Names>) -> Result<Answered, AppError> {
        let Done { receipt, replayed } = outcome?;
        let names = match names {
            Some(names) => names,
            None => {
                let mut names = self.names(receipt.tenant, receipt.user).await?;
                names.action = charge_of(&receipt.detail).and_then(|charge| self.action_key(charge.action));
                names
            }
        };
        Ok(Answered { receipt, replayed, names })
    }

    /// What was answered to a key before, for a request that would not be taken any more: the same request gets the same
    /// answer for as long as keys are kept (law 4).
    async fn answered_before(
        &self,
        tenant: TenantNo,
        key: &Idempotency,
    ) -> Result<Option<Outcome>, AppError> {
        let (digest, request) = self.key(tenant, key)?;
        // Answers are the writer's; this is rare enough to ask there.
        let asked = move |batch: &mut purser_store::Batch<'_>| Ok((batch.answer(digest)?, false));
        let Some(answer) = self.inner.engine.change(asked).await? else { return Ok(None) };
        if answer.request_digest != request {
            return Ok(Some(Err(Rejection::IdempotencyConflict.into())));
        }
        let receipt = purser_core::codec::decode_receipt(&answer.receipt);
        let receipt = receipt.map_err(|_| AppError::Fault("a stored answer cannot be read".to_string()))?;
        Ok(Some(Ok(Done { receipt, replayed: true })))
    }

    /// The action that a request names.
    fn action(&self, key: &Key) -> Result<Arc<Action>, AppError> {
        self.catalogue().action_by_key(key).cloned().ok_or(AppError::Rejected(Rejection::ActionNotFound))
    }

    /// The key of an action by its number.
    fn action_key(&self, no: u64) -> Option<Key> {
        self.catalogue().action(no).map(|action| action.key.clone())
    }
}

/// What a receipt charged, or expects to.
fn charge_of(detail: &Detail) -> Option<&Charge> {
    match detail {
        Detail::Debit { charge } | Detail::Hold { charge, .. } => Some(charge),
        Detail::Grant { .. }
        | Detail::Revoke { .. }
        | Detail::Refund { .. }
        | Detail::Transfer { .. }
        | Detail::Plain => None,
    }
}

/// A reason is part of what a person does with credits (law 10).
fn require_reason(remarks: &Remarks) -> Result<(), AppError> {
    match &remarks.reason {
        Some(reason) if !reason.trim().is_empty() => Ok(()),
        _ => Err(crate::parse::field("/reason", "required", "say why; it is kept with the entry")),
    }
}

//! What the rule book refuses, in words: one line about what to do, the field it is about, and the amounts that are known.
//!
//! The match is exhaustive, so a new rejection cannot be forgotten here. It decides nothing: code and status are the
//! rejection's own.

use std::borrow::Cow;

use axum::http::StatusCode;
use purser_core::catalogue::Unit;
use purser_core::gate::{Refusal, Unreadable};
use purser_core::rejection::Misfit;
use purser_core::{Amount, Key, Rejection};

use super::titles::title;
use super::{AmountOut, More, Problem, ProblemOut, TimeOut, no_such};

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Problem {
        let status =
            StatusCode::from_u16(rejection.status()).expect("the table of rejections has HTTP statuses");
        let code = rejection.code();
        let mut problem = Problem::new(status, code, explained(&rejection));
        match &rejection {
            Rejection::InsufficientCredits { .. }
            | Rejection::ConfirmationRequired { .. }
            | Rejection::CaptureExceedsHold { .. }
            | Rejection::RefundExceedsDebit { .. }
            | Rejection::RevokeExceedsUnspent { .. }
            | Rejection::LimitReached { .. }
            | Rejection::HoldClosed { .. } => problem.more = More::Rejected(Box::new(rejection)),
            Rejection::UsageInvalid { misfit } => problem.at(pointer_of(misfit), code),
            Rejection::AmountNotPositive => problem.at("/amount", code),
            Rejection::TimeInvalid => problem.at("/expires_at", code),
            Rejection::SameWallet => problem.at("/to", code),
            Rejection::QuoteInvalid
            | Rejection::QuoteMismatch
            | Rejection::QuoteUsed
            | Rejection::QuoteExpired => problem.at("/quote", code),
            // Several fields may be meant: the call knows which and says so with `locate`.
            Rejection::AmountOverflow | Rejection::UnitMismatch => {}
            Rejection::TooManyLots
            | Rejection::IdempotencyConflict
            | Rejection::ActionNotFound
            | Rejection::WalletNotFound
            | Rejection::HoldNotFound
            | Rejection::DebitNotFound
            | Rejection::GrantNotFound
            | Rejection::CauseNotFound
            | Rejection::TenantSuspended
            | Rejection::SpendingFrozen
            | Rejection::TenantClosed
            | Rejection::HoldExpired
            | Rejection::HoldLifeExceeded
            | Rejection::CauseRepeated => {}
        }
        problem
    }
}

/// Fills in the amounts of a rejection, in units looked up by `unit_of`, and what became of a hold.
pub(super) fn tell(document: &mut ProblemOut, rejection: &Rejection, unit_of: impl Fn(&Key) -> Option<Unit>) {
    let shown = |code: &Key, amount: &Amount| unit_of(code).map(|unit| AmountOut::of(&unit, *amount));
    let counted_in = match rejection {
        Rejection::InsufficientCredits { required, available, unit, .. } => {
            document.required = shown(unit, required);
            document.available = shown(unit, available);
            // What is available already counts the debt, so this does too.
            document.shortfall = shown(unit, &(*required - *available));
            document.packages = Some(Vec::new());
            unit
        }
        Rejection::ConfirmationRequired { required, above, unit, .. } => {
            document.required = shown(unit, required);
            document.confirm_above = shown(unit, above);
            unit
        }
        Rejection::CaptureExceedsHold { held, required, capturable, unit } => {
            document.held = shown(unit, held);
            document.required = shown(unit, required);
            document.capturable = shown(unit, capturable);
            unit
        }
        Rejection::RefundExceedsDebit { refundable, unit } => {
            document.refundable = shown(unit, refundable);
            unit
        }
        Rejection::RevokeExceedsUnspent { revocable, unit } => {
            document.revocable = shown(unit, revocable);
            unit
        }
        Rejection::LimitReached { amount, used, required, unit, resets_at, .. } => {
            document.required = shown(unit, required);
            document.limit = shown(unit, amount);
            document.used = shown(unit, used);
            document.resets_at = Some(TimeOut(*resets_at));
            unit
        }
        Rejection::HoldClosed { state } => return document.state = Some(state.name()),
        _ => return,
    };
    document.unit = Some(counted_in.to_string());
}

/// What is wrong, and where it can be said in a line what to do about it.
fn explained(rejection: &Rejection) -> Cow<'static, str> {
    let code = rejection.code();
    let what = match rejection {
        Rejection::HoldClosed { state } => return format!("The hold is {} already.", state.name()).into(),
        Rejection::UsageInvalid { misfit } => match misfit {
            Misfit::OneOnly => "The action has a flat price, which is for one: repeat the call for each.",
            Misfit::NoDimensions => "The action's price counts no dimensions: give a quantity.",
            Misfit::DimensionsExpected => "The action is priced per dimension: give dimensions.",
            Misfit::UnknownDimension(name) => {
                return format!("The action's price has no rate for the dimension `{name}`.").into();
            }
            Misfit::AmountStated => "A debit is priced by its action; only holds state an amount.",
        },
        Rejection::TimeInvalid => "It has to expire after now and after it becomes effective.",
        Rejection::UnitMismatch => "The unit is not that of the wallet, or the action has no price in it.",
        Rejection::IdempotencyConflict => {
            "The key was used for another method, path or body: a new request needs a new key."
        }
        Rejection::ActionNotFound => {
            "There is no such action, or it is switched off, or it had no price when the work happened."
        }
        Rejection::ConfirmationRequired { .. } => {
            "It costs more than may be spent without asking: ask, and send the same with the quote of this answer."
        }
        Rejection::QuoteInvalid => "Give the quote's token exactly as it was answered.",
        Rejection::QuoteMismatch => {
            "A quote is for the tenant, user, action, input, unit and wallet that it was asked for."
        }
        Rejection::QuoteUsed => "A debit or hold was made with it already; ask for another one.",
        Rejection::QuoteExpired => "Ask for another one: the price may have changed.",
        Rejection::LimitReached { .. } => {
            "What may be used in this period is used up; the next one begins at resets_at."
        }
        Rejection::HoldExpired => {
            "The hold ran out; work that was done is charged by a capture with the mode `settle`."
        }
        Rejection::WalletNotFound
        | Rejection::HoldNotFound
        | Rejection::DebitNotFound
        | Rejection::GrantNotFound
        | Rejection::CauseNotFound => return no_such(code.trim_end_matches("_not_found")).into(),
        Rejection::AmountNotPositive
        | Rejection::AmountOverflow
        | Rejection::SameWallet
        | Rejection::TooManyLots
        | Rejection::TenantSuspended
        | Rejection::SpendingFrozen
        | Rejection::TenantClosed
        | Rejection::CaptureExceedsHold { .. }
        | Rejection::HoldLifeExceeded
        | Rejection::RefundExceedsDebit { .. }
        | Rejection::RevokeExceedsUnspent { .. }
        | Rejection::CauseRepeated
        | Rejection::InsufficientCredits { .. } => return title(code),
    };
    Cow::Borrowed(what)
}

/// What the gate refuses by itself.
pub(super) fn at_the_gate(refusal: Refusal) -> Problem {
    let status = StatusCode::from_u16(refusal.status()).expect("refusals have HTTP statuses");
    let detail = match refusal {
        Refusal::Denied => "The rule that this request falls under lets none pass.",
        Refusal::NoUser => "The header that names the user is missing or empty.",
        Refusal::NoRequestId => "The proxy names each request in the header X-Purser-Request-Id.",
        Refusal::Repeated => {
            "A request of this name was charged more than a minute ago; a new request has a new name."
        }
        Refusal::Unreadable(Unreadable::Host) => "X-Forwarded-Host is not a host.",
        Refusal::Unreadable(Unreadable::Path) => {
            "X-Forwarded-Uri has no path that a server would take, or is too long."
        }
        Refusal::Unreadable(Unreadable::Method) => "X-Forwarded-Method is not a method in capitals.",
    };
    Problem::new(status, refusal.code(), detail)
}

/// The field that does not fit the price.
fn pointer_of(misfit: &Misfit) -> String {
    match misfit {
        Misfit::OneOnly => "/quantity".to_string(),
        Misfit::NoDimensions | Misfit::DimensionsExpected => "/dimensions".to_string(),
        Misfit::UnknownDimension(name) => {
            format!("/dimensions/{}", name.replace('~', "~0").replace('/', "~1"))
        }
        Misfit::AmountStated => "/amount".to_string(),
    }
}

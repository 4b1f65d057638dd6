//! The catalogue of codes: every refusal and fault the API can answer, with its status.

use purser_app::error::{AppError, FieldError};
use purser_core::gate::{Refusal, Unreadable};
use purser_core::rejection::Misfit;
use purser_core::wallet::HoldState;
use purser_core::{Amount, Id, Key, Rejection, Timestamp, WalletId};
use purser_server::http::problem::Problem;
use std::time::Duration;

fn rejections() -> Vec<Rejection> {
    let unit = Key::parse("credit").expect("a key");
    let some = Amount(1);
    vec![
        Rejection::AmountNotPositive,
        Rejection::AmountOverflow,
        Rejection::TimeInvalid,
        Rejection::UsageInvalid { misfit: Misfit::OneOnly },
        Rejection::UnitMismatch,
        Rejection::SameWallet,
        Rejection::TooManyLots,
        Rejection::IdempotencyConflict,
        Rejection::ActionNotFound,
        Rejection::WalletNotFound,
        Rejection::HoldNotFound,
        Rejection::DebitNotFound,
        Rejection::GrantNotFound,
        Rejection::CauseNotFound,
        Rejection::TenantSuspended,
        Rejection::SpendingFrozen,
        Rejection::TenantClosed,
        Rejection::QuoteInvalid,
        Rejection::QuoteMismatch,
        Rejection::QuoteUsed,
        Rejection::QuoteExpired,
        Rejection::HoldExpired,
        Rejection::HoldClosed { state: HoldState::Captured },
        Rejection::CaptureExceedsHold { held: some, required: some, capturable: some, unit: unit.clone() },
        Rejection::HoldLifeExceeded,
        Rejection::RefundExceedsDebit { refundable: some, unit: unit.clone() },
        Rejection::RevokeExceedsUnspent { revocable: some, unit: unit.clone() },
        Rejection::CauseRepeated,
        Rejection::LimitReached {
            limit: Id(1),
            amount: some,
            used: some,
            required: some,
            unit: unit.clone(),
            resets_at: Timestamp::ZERO,
        },
        Rejection::InsufficientCredits { required: some, available: some, unit: unit.clone(), priced: None },
        Rejection::ConfirmationRequired {
            required: some,
            above: some,
            unit,
            priced: None,
            wallet: WalletId(Id(1)),
        },
    ]
}

#[test]
fn every_code_has_one_status() {
    let unavailable = |reason| AppError::Unavailable { reason, retry_after: Duration::from_secs(1) };
    let field = FieldError { pointer: "/a".to_string(), code: "required", detail: "x".to_string() };
    let mut errors = vec![
        AppError::Unauthenticated,
        AppError::Denied { scope: "write" },
        AppError::PlatformOnly,
        AppError::Invalid(vec![field]),
        AppError::NotFound { what: "wallet" },
        AppError::NotFound { what: "user" },
        AppError::Exists { what: "unit" },
        AppError::Exists { what: "action" },
        AppError::NotFound { what: "gate_rule" },
        AppError::Exists { what: "gate_rule" },
        AppError::Gate(Refusal::Denied),
        AppError::Gate(Refusal::NoUser),
        AppError::Gate(Refusal::NoRequestId),
        AppError::Gate(Refusal::Repeated),
        AppError::Gate(Refusal::Unreadable(Unreadable::Path)),
        unavailable("overloaded"),
        unavailable("deadline_exceeded"),
        AppError::CursorUnknown,
        unavailable("clock_unsafe"),
        unavailable("shutting_down"),
        unavailable("store_unavailable"),
        unavailable("too_many_streams"),
        AppError::RateLimited { limit: 1, retry_after: Duration::ZERO, reset_after: Duration::ZERO },
        AppError::Fault("x".to_string()),
    ];
    errors.extend(rejections().into_iter().map(AppError::Rejected));
    let mut lines: Vec<String> = errors
        .into_iter()
        .map(Problem::from)
        .map(|problem| format!("{} {}", problem.status.as_u16(), problem.code))
        .collect();
    lines.sort();
    lines.dedup();
    insta::assert_snapshot!(lines.join("\n"), @r"
    400 gate_request_id_required
    400 gate_request_unreadable
    401 gate_user_required
    401 unauthenticated
    402 insufficient_credits
    403 gate_denied
    403 limit_reached
    403 platform_key_required
    403 scope_missing
    403 spending_frozen
    403 tenant_closed
    403 tenant_suspended
    404 action_not_found
    404 cause_not_found
    404 debit_not_found
    404 gate_rule_not_found
    404 grant_not_found
    404 hold_not_found
    404 user_not_found
    404 wallet_not_found
    409 action_exists
    409 capture_exceeds_hold
    409 cause_repeated
    409 confirmation_required
    409 gate_request_repeated
    409 gate_rule_exists
    409 hold_closed
    409 hold_expired
    409 hold_life_exceeded
    409 quote_expired
    409 quote_invalid
    409 quote_mismatch
    409 quote_used
    409 refund_exceeds_debit
    409 revoke_exceeds_unspent
    409 unit_exists
    410 cursor_unknown
    422 amount_not_positive
    422 amount_overflow
    422 idempotency_conflict
    422 invalid_request
    422 same_wallet
    422 time_invalid
    422 too_many_lots
    422 unit_mismatch
    422 usage_invalid
    429 rate_limited
    500 internal_error
    503 clock_unsafe
    503 deadline_exceeded
    503 overloaded
    503 shutting_down
    503 store_unavailable
    503 too_many_streams
    ");
}

//! Codes of problems in words: a title for each that does not say enough by its own name.

use std::borrow::Cow;

/// One line for people, by code.
pub(super) fn title(code: &str) -> Cow<'static, str> {
    let known = TITLES.iter().find(|(known, _)| *known == code).map(|(_, title)| *title);
    known.map_or_else(|| Cow::Owned(plain_title(code)), Cow::Borrowed)
}

/// `wallet_not_found` as `Wallet not found`.
fn plain_title(code: &str) -> String {
    let mut words = code.replace('_', " ");
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// Titles that say more than their codes.
const TITLES: &[(&str, &str)] = &[
    ("amount_not_positive", "An amount has to be more than zero"),
    ("amount_overflow", "An amount is beyond what the ledger counts"),
    ("body_incomplete", "The body broke off"),
    ("body_too_large", "The body is too long"),
    ("capture_exceeds_hold", "The work cost more than was held and than the action allows beyond it"),
    ("cause_repeated", "This was booked before"),
    ("clock_unsafe", "The clock cannot be trusted now"),
    ("confirmation_required", "Somebody has to be asked first"),
    ("cursor_unknown", "The cursor leads nowhere in this database"),
    ("deadline_exceeded", "The request waited too long and was not executed"),
    ("gate_denied", "The gate lets no such request pass"),
    ("gate_request_id_required", "The proxy has to name the request"),
    ("gate_request_repeated", "The request was charged long ago"),
    ("gate_request_unreadable", "The gate cannot read the request"),
    ("gate_user_required", "The gate has to know the user"),
    ("hold_closed", "The hold was captured or released before"),
    ("hold_expired", "The hold ran out"),
    ("hold_life_exceeded", "A hold lives 24 hours at the most"),
    ("idempotency_conflict", "The idempotency key was used for another request"),
    ("idempotency_key_required", "The header Idempotency-Key is required"),
    ("insufficient_credits", "The balance lacks credits"),
    ("internal_error", "The service failed"),
    ("invalid_request", "The request is not acceptable"),
    ("limit_reached", "A limit on what may be used in a period is reached"),
    ("malformed_json", "The body is not JSON"),
    ("method_not_allowed", "The path does not take this method"),
    ("overloaded", "Too much is waiting already"),
    ("platform_key_required", "Only a key of the platform may do this"),
    ("quote_expired", "The quote's time is over"),
    ("quote_invalid", "The quote is not one of this service"),
    ("quote_mismatch", "The quote was given for another request"),
    ("quote_used", "The quote was used before"),
    ("rate_limited", "Too many calls"),
    ("refund_exceeds_debit", "More is to be given back than is left of the debit"),
    ("request_timeout", "The request did not arrive in time"),
    ("revoke_exceeds_unspent", "More is to be taken back than is unspent and unpinned"),
    ("route_not_found", "There is nothing at this path"),
    ("same_wallet", "A transfer needs two wallets"),
    ("scope_missing", "The key may not do this"),
    ("shutting_down", "The service is shutting down"),
    ("spending_frozen", "Spending of this tenant is frozen"),
    ("store_unavailable", "The database cannot be reached"),
    ("tenant_closed", "The tenant is closed"),
    ("tenant_suspended", "The tenant is suspended"),
    ("time_invalid", "A time lies where it makes no sense"),
    ("too_many_lots", "The command would touch too many lots"),
    ("too_many_streams", "Too many live balances are open already"),
    ("unauthenticated", "A valid key is needed"),
    ("unit_mismatch", "The unit is not one of this wallet or action"),
    ("unsupported_media_type", "The body has to be JSON"),
    ("usage_invalid", "The quantity or the dimensions do not fit the action's price"),
];

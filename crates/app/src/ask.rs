//! What callers ask, as it arrives: texts and numbers that are not checked yet.
//!
//! The use case checks an ask against the catalogue (an amount can only be read with its unit's scale) and names the
//! field that is wrong. Field names are those of the wire.

use purser_core::entry::GrantKind;

/// The idempotency key of a request and a digest of its content (method, path, body).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key as the client chose it: 1-255 printable ASCII.
    pub key: String,
    /// BLAKE3 of method, path and raw body.
    pub request: [u8; 32],
}

/// Whose wallets: a named tenant, or the user's personal tenant where none is named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whose {
    /// The tenant's key.
    pub tenant: Option<String>,
    /// The user's key.
    pub user: String,
}

/// Free text beside a movement; kept apart from the ledger, erasable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remarks {
    /// The product's own reference, searchable; at most 255 characters.
    pub reference: Option<String>,
    /// JSON object as compact text; at most 4 KiB.
    pub metadata: Option<String>,
    /// Why a person did it; at most 500 characters.
    pub reason: Option<String>,
}

/// What was consumed, or is expected to be. At most one of the three is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    /// Decimal text.
    pub quantity: Option<String>,
    /// Names and decimal texts.
    pub dimensions: Option<Vec<(String, String)>>,
    /// Decimal text in whole units; holds only.
    pub amount: Option<String>,
}

/// `POST /v1/grants`
#[derive(Clone, Debug)]
pub struct GrantAsk {
    /// The wallet's owner.
    pub whose: Whose,
    /// The unit's code; `credit` unless said.
    pub unit: Option<String>,
    /// Decimal text.
    pub amount: String,
    /// Why.
    pub kind: GrantKind,
    /// Lower burns first; 0 unless said.
    pub priority: Option<i32>,
    /// RFC 3339.
    pub effective_at: Option<String>,
    /// RFC 3339.
    pub expires_at: Option<String>,
    /// Decimal text and ISO code.
    pub paid: Option<(String, String)>,
    /// Reason (required), reference.
    pub remarks: Remarks,
}

/// `POST /v1/grants/{id}/revoke`
#[derive(Clone, Debug)]
pub struct RevokeAsk {
    /// `gra_…`
    pub grant: String,
    /// Decimal text; everything that can be revoked unless said.
    pub amount: Option<String>,
    /// Reason (required).
    pub remarks: Remarks,
}

/// `POST /v1/debits`, `POST /v1/preflight`
#[derive(Clone, Debug)]
pub struct DebitAsk {
    /// Who consumes.
    pub whose: Whose,
    /// The action's key.
    pub action: String,
    /// How much of it.
    pub measure: Measure,
    /// Pay in this unit only.
    pub unit: Option<String>,
    /// `wal_…`: pay from this wallet only.
    pub wallet_id: Option<String>,
    /// Record work already done.
    pub settle: bool,
    /// RFC 3339; the time of receipt unless said.
    pub occurred_at: Option<String>,
    /// The promise of its cost that a preflight or a refusal gave.
    pub quote: Option<String>,
    /// Where the page for buying credits leads back to.
    pub return_url: Option<String>,
    /// Reference, metadata.
    pub remarks: Remarks,
}

/// An event of `POST /v1/usage_events`: usage that is reported after the fact.
#[derive(Clone, Debug)]
pub struct UsageEventAsk {
    /// Who made the event.
    pub source: String,
    /// Names it among those of its source.
    pub id: String,
    /// What was consumed. It settles, whatever it says.
    pub debit: DebitAsk,
}

/// `POST /v1/debits/{id}/refund`
#[derive(Clone, Debug)]
pub struct RefundAsk {
    /// `deb_…`
    pub debit: String,
    /// Decimal text; everything that is left unless said.
    pub amount: Option<String>,
    /// Reason (required).
    pub remarks: Remarks,
}

/// `POST /v1/holds`
#[derive(Clone, Debug)]
pub struct HoldAsk {
    /// Who will consume.
    pub whose: Whose,
    /// The action's key.
    pub action: String,
    /// The expected measure, or an amount.
    pub measure: Measure,
    /// Instead of a measure: an amount by what past captures of the action have cost.
    pub by_history: bool,
    /// Pay in this unit only.
    pub unit: Option<String>,
    /// `wal_…`: pay from this wallet only.
    pub wallet_id: Option<String>,
    /// Seconds; 900 unless said.
    pub expires_in: Option<i64>,
    /// The promise of its cost that a preflight or a refusal gave.
    pub quote: Option<String>,
    /// Where the page for buying credits leads back to.
    pub return_url: Option<String>,
    /// Reference, metadata.
    pub remarks: Remarks,
}

/// `POST /v1/holds/{id}/extend`
#[derive(Clone, Debug)]
pub struct ExtendAsk {
    /// `hol_…`
    pub hold: String,
    /// Seconds from now.
    pub expires_in: Option<i64>,
    /// The new total expectation.
    pub measure: Measure,
}

/// `POST /v1/holds/{id}/capture`
#[derive(Clone, Debug)]
pub struct CaptureAsk {
    /// `hol_…`
    pub hold: String,
    /// What it really was; what was held unless said.
    pub measure: Measure,
    /// Record it even if the hold ran out.
    pub settle: bool,
    /// RFC 3339.
    pub occurred_at: Option<String>,
    /// Reference, metadata.
    pub remarks: Remarks,
}

/// One side of a transfer. Exactly one is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferEnd {
    /// `wal_…`
    pub wallet_id: Option<String>,
    /// A user of the tenant.
    pub user: Option<String>,
}

/// `POST /v1/transfers`
#[derive(Clone, Debug)]
pub struct TransferAsk {
    /// The tenant's key; credits never leave it.
    pub tenant: Option<String>,
    /// From where.
    pub from: TransferEnd,
    /// Where to.
    pub to: TransferEnd,
    /// The unit's code; `credit` unless said or given by a wallet.
    pub unit: Option<String>,
    /// Decimal text.
    pub amount: String,
    /// Reason, reference.
    pub remarks: Remarks,
}

/// `POST /v1/units`
#[derive(Clone, Debug)]
pub struct UnitAsk {
    /// Its code.
    pub code: String,
    /// Its decimals, 0-6.
    pub scale: u8,
    /// What people call it.
    pub name: String,
}

/// A rate of a price, as decimal text and a divisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateAsk {
    /// Decimal text in whole units.
    pub rate: String,
    /// For how many; 1 unless said.
    pub per: Option<i64>,
}

/// The arithmetic of a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelAsk {
    /// `free`
    Free,
    /// `flat`
    Flat {
        /// Decimal text.
        amount: String,
    },
    /// `per_quantity`
    PerQuantity {
        /// The rate.
        rate: RateAsk,
    },
    /// `per_dimension`
    PerDimension {
        /// Rates by measure.
        rates: Vec<(String, RateAsk)>,
    },
    /// `graduated`
    Graduated {
        /// Ascending; the last is open.
        tiers: Vec<TierAsk>,
    },
    /// `volume`
    Volume {
        /// Ascending; the last is open.
        tiers: Vec<TierAsk>,
    },
    /// `package`
    Package {
        /// What a package costs, decimal text.
        amount: String,
        /// How many are in one; 1 unless said.
        per: Option<i64>,
    },
}

/// A tier of a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierAsk {
    /// The last quantity in it, decimal text; none in the last tier.
    pub up_to: Option<String>,
    /// What the quantity in it costs.
    pub rate: RateAsk,
    /// Decimal text; charged once when the tier is used.
    pub flat: Option<String>,
}

/// A price version.
#[derive(Clone, Debug)]
pub struct PriceAsk {
    /// Free of charge in each period; pointers into it start with `/included`.
    pub included: Option<IncludedAsk>,
    /// Whether tiers go by what the tenant used this month, not by the call.
    pub by_month: bool,
    /// The unit's code; `credit` unless said.
    pub unit: Option<String>,
    /// The arithmetic.
    pub model: ModelAsk,
    /// Decimal text.
    pub minimum: Option<String>,
    /// Decimal text.
    pub maximum: Option<String>,
    /// `up` (unless said), `half_even` or `down`.
    pub rounding: Option<String>,
    /// RFC 3339; at once unless said; never in the past.
    pub valid_from: Option<String>,
}

/// `POST /v1/actions/{key}/tenant_prices`
#[derive(Clone, Debug)]
pub struct TenantPriceAsk {
    /// The tenant's key.
    pub tenant: String,
    /// The version. Pointers into it start with `/price`.
    pub price: PriceAsk,
    /// RFC 3339; after `valid_from`; it does not end by itself unless said.
    pub valid_until: Option<String>,
}

/// `POST /v1/gate/rules`, `PUT /v1/gate/rules/{key}`
#[derive(Clone, Debug, Default)]
pub struct GateRuleAsk {
    /// Its key.
    pub key: String,
    /// A host, or `*.` and a domain; any unless said.
    pub host: Option<String>,
    /// Segments; `*` for any one, `**` at the end for what is left.
    pub path: String,
    /// In capitals; all unless said.
    pub methods: Vec<String>,
    /// Lower goes first among rules that are as specific; 0 unless said.
    pub priority: Option<i32>,
    /// Whether it is looked at; it is unless said.
    pub active: Option<bool>,
    /// `charge` (unless said), `free` or `deny`. What follows is for `charge` alone.
    pub effect: Option<String>,
    /// The action that is charged.
    pub action: Option<String>,
    /// Decimal text; one unless said.
    pub quantity: Option<String>,
    /// The tenant that pays; the user's personal one unless said.
    pub tenant: Option<String>,
    /// Instead: the header that names it.
    pub tenant_header: Option<String>,
    /// The header that names the user; `X-Purser-User` unless said.
    pub user_header: Option<String>,
    /// What is in it: `key` (unless said) or `credential`.
    pub user_is: Option<String>,
    /// When the ledger cannot be asked: `closed` (unless said) or `open`.
    pub fail: Option<String>,
}

/// `POST /v1/gate/outcomes`
#[derive(Clone, Debug)]
pub struct GateOutcomeAsk {
    /// The proxy's name for the request.
    pub request_id: String,
    /// The host it was sent to.
    pub host: String,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub uri: String,
    /// What was in the header that names the user.
    pub user: Option<String>,
    /// What was in the header that names the tenant.
    pub tenant: Option<String>,
    /// The status that the client got.
    pub status: u16,
    /// `deb_…`, where the gate charged it.
    pub debit: Option<String>,
    /// RFC 3339; now unless said.
    pub occurred_at: Option<String>,
}

/// `POST /v1/discounts`
#[derive(Clone, Debug)]
pub struct DiscountAsk {
    /// The tenant's key; the user's personal tenant unless said.
    pub tenant: Option<String>,
    /// The user of a personal tenant.
    pub user: Option<String>,
    /// The key of the one action it is on.
    pub action: Option<String>,
    /// How much, in percent, decimal text.
    pub percent: String,
    /// RFC 3339; now unless said.
    pub valid_from: Option<String>,
    /// RFC 3339; it does not end by itself unless said.
    pub valid_until: Option<String>,
}

/// `POST /v1/limits`
#[derive(Clone, Debug)]
pub struct LimitAsk {
    /// The tenant's key; the user's personal tenant unless said.
    pub tenant: Option<String>,
    /// The one user it is for.
    pub user: Option<String>,
    /// Whether it is for each user by itself.
    pub each_user: bool,
    /// The key of the one action it is for.
    pub action: Option<String>,
    /// The unit's code; `credit` unless said.
    pub unit: Option<String>,
    /// The most, decimal text.
    pub amount: String,
    /// `day`, `week` or `month`.
    pub period: String,
    /// Whether it refuses what would pass it.
    pub enforced: bool,
    /// At which shares somebody is told, in percent.
    pub alert_at: Vec<i64>,
}

/// So much of each period is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncludedAsk {
    /// Decimal text.
    pub quantity: String,
    /// `day`, `week` or `month`; `month` unless said.
    pub period: Option<String>,
}

/// Costs above which somebody is asked first, as they arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfirmAsk {
    /// Decimal text in the only unit there is.
    One(String),
    /// Codes of units and decimal texts.
    ByUnit(Vec<(String, String)>),
}

/// `PUT /v1/users/{key}/preferences`
#[derive(Clone, Debug)]
pub struct PreferencesAsk {
    /// Whose.
    pub whose: Whose,
    /// Above which costs the user wants to be asked first; none for never.
    pub confirm_above: Option<ConfirmAsk>,
}

/// `POST /v1/actions`
#[derive(Clone, Debug)]
pub struct ActionAsk {
    /// Its key.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// What one of it is: scan, call, token.
    pub unit_label: Option<String>,
    /// One paragraph.
    pub description: Option<String>,
    /// For grouping.
    pub category: Option<String>,
    /// `refuse` (unless said), `allow` or `debt`.
    pub overage: Option<String>,
    /// With `allow`: percent of the hold, 0-1000.
    pub overage_percent: Option<u16>,
    /// Above which costs a strict debit or hold needs its quote.
    pub confirm_above: Option<ConfirmAsk>,
    /// One per unit, in the order in which units are tried. Pointers into it start with `/prices/N`, or with `/price`
    /// where the request has a single `price`.
    pub prices: Vec<PriceAsk>,
    /// Whether the request has a single `price`.
    pub single: bool,
}

/// `PATCH /v1/actions/{key}`: what is not named stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ActionPatchAsk {
    /// What people call it.
    pub name: Option<String>,
    /// What one of it is; none inside takes it away.
    pub unit_label: Option<Option<String>>,
    /// One paragraph; none inside takes it away.
    pub description: Option<Option<String>>,
    /// For grouping; none inside takes it away.
    pub category: Option<Option<String>>,
    /// Whether it may be consumed.
    pub active: Option<bool>,
    /// `refuse`, `allow` or `debt`.
    pub overage: Option<String>,
    /// With `allow`: percent of the hold, 0-1000.
    pub overage_percent: Option<u16>,
    /// Above which costs a strict debit or hold needs its quote; none inside takes it away.
    pub confirm_above: Option<Option<ConfirmAsk>>,
}

/// `PUT /v1/catalogue`
#[derive(Clone, Debug, Default)]
pub struct CatalogueAsk {
    /// Units to have; others stay.
    pub units: Vec<UnitAsk>,
    /// Actions to have.
    pub actions: Vec<CatalogueActionAsk>,
    /// Whether actions that are not named are switched off.
    pub prune: bool,
}

/// An action of a catalogue file.
#[derive(Clone, Debug)]
pub struct CatalogueActionAsk {
    /// Labels, rule and prices: for each unit what is in force, and what is scheduled.
    pub action: ActionAsk,
    /// Whether it may be consumed.
    pub active: bool,
}

/// A page of a list.
#[derive(Clone, Debug, Default)]
pub struct PageAsk {
    /// At most 500; 50 unless said.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// `GET /v1/events`
#[derive(Clone, Debug, Default)]
pub struct EventsAsk {
    /// The tenant's key.
    pub tenant: Option<String>,
    /// The type of event.
    pub kind: Option<String>,
    /// Whether to begin behind everything there is.
    pub from_now: bool,
    /// Which page.
    pub page: PageAsk,
}

/// `GET /v1/reports/refusals`
#[derive(Clone, Debug, Default)]
pub struct RefusalsAsk {
    /// RFC 3339; a day ago unless said.
    pub from: Option<String>,
    /// RFC 3339; now unless said.
    pub to: Option<String>,
    /// The tenant's key.
    pub tenant: Option<String>,
    /// The action's key.
    pub action: Option<String>,
}

/// `GET /v1/wallets`
#[derive(Clone, Debug, Default)]
pub struct WalletSearch {
    /// The tenant's key.
    pub tenant: Option<String>,
    /// The user's key.
    pub user: Option<String>,
    /// The unit's code.
    pub unit: Option<String>,
}

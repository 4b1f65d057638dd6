//! What use cases answer: domain values with the names that belong to their numbers. The server renders them.

use purser_core::catalogue::{Price, TenantDiscount, Unit};
use purser_core::entry::{Charge, EntryKind, GrantKind};
use purser_core::limit::{Alert, Limit};
use purser_core::pricing::Explanation;
use purser_core::receipt::Receipt;
use purser_core::wallet::{Balance, Hold, Lot};
use purser_core::{Amount, Entry, EntryId, Id, Key, LotId, Money, Timestamp, WalletKey};
use purser_store::{Announced, RefusalRow};

/// The names behind the numbers of a tenant, user and action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The tenant's key; none for a personal tenant.
    pub tenant: Option<Key>,
    /// The user's key; none when it was erased or there is none.
    pub user: Option<Key>,
    /// The action's key.
    pub action: Option<Key>,
}

/// The answer to a movement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What was done.
    pub receipt: Receipt,
    /// Whether it was done before, under the same key.
    pub replayed: bool,
    /// Names for it.
    pub names: Names,
}

/// The answer to a pre-flight check.
#[derive(Clone, Debug)]
pub struct Preflight {
    /// Whether a debit would be accepted now.
    pub allowed: bool,
    /// Why not.
    pub code: Option<&'static str>,
    /// When the period is over whose limit is in the way.
    pub resets_at: Option<Timestamp>,
    /// What it costs.
    pub cost: Amount,
    /// In which unit.
    pub unit: Unit,
    /// The wallet that would pay, or is closest to it; none where it does not exist yet.
    pub wallet: Option<WalletKey>,
    /// Its balance now.
    pub balance: Balance,
    /// Its available balance after the debit; may be negative when refused.
    pub available_after: Amount,
    /// What is missing, debt included.
    pub shortfall: Option<Amount>,
    /// Whether it costs more than may be spent without asking: a debit needs the quote then.
    pub confirmation_required: bool,
    /// A promise of the cost, where a debit would be made or only credits are missing.
    pub quote: Option<QuoteView>,
    /// Where credits can be bought, when they are missing.
    pub topup_url: Option<String>,
}

/// A signed promise of what an action costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteView {
    /// Names it: what was paid with it names it as well.
    pub id: Id,
    /// To be given to the debit or hold.
    pub token: String,
    /// It binds before this instant.
    pub expires_at: Timestamp,
}

/// What can be done about a lack of credits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Lets the interrupted action go on at this price once there are credits; none where no price version says what is
    /// missing, as beyond a hold.
    pub quote: Option<QuoteView>,
    /// Where credits can be bought.
    pub topup_url: String,
}

/// What lets a request go on that somebody has to be asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToConfirm {
    /// Says that somebody was asked, and locks the cost; none where no price version says it.
    pub quote: Option<QuoteView>,
    /// The page that tells whoever is asked what it is about.
    pub confirm_url: String,
}

/// A wallet as lists and reads show it.
#[derive(Clone, Debug)]
pub struct WalletView {
    /// Its key.
    pub key: WalletKey,
    /// What it counts.
    pub unit: Unit,
    /// What people call the unit.
    pub unit_name: String,
    /// `personal` or `pool`.
    pub kind: &'static str,
    /// Names of tenant and owner.
    pub names: Names,
    /// Its balance at `as_of`.
    pub balance: Balance,
    /// The instant.
    pub as_of: Timestamp,
    /// When it was first used.
    pub created_at: Timestamp,
}

/// A wallet's balance as a stream shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBalance {
    /// The wallet.
    pub key: WalletKey,
    /// What it counts.
    pub unit: Unit,
    /// Its last entry.
    pub seq: u64,
    /// Its balance at `as_of`.
    pub balance: Balance,
    /// The instant.
    pub as_of: Timestamp,
}

/// An entry in a statement.
#[derive(Clone, Debug)]
pub struct EntryView {
    /// The entry.
    pub entry: Entry,
    /// Names for it.
    pub names: Names,
    /// One line for people: the action's name, or what happened.
    pub title: String,
    /// Its unit.
    pub unit: Unit,
    /// The product's reference, unless erased.
    pub reference: Option<String>,
    /// Why a person did it, unless erased.
    pub reason: Option<String>,
    /// JSON object as compact text, unless erased.
    pub metadata: Option<String>,
}

/// A lot of a wallet.
#[derive(Clone, Debug)]
pub struct LotView {
    /// The lot.
    pub lot: Lot,
    /// The wallet's unit.
    pub unit: Unit,
    /// The wallet.
    pub wallet: WalletKey,
}

/// A hold.
#[derive(Clone, Debug)]
pub struct HoldView {
    /// The hold; expired ones are shown as expired even before the expiry is booked.
    pub hold: Hold,
    /// The wallet.
    pub wallet: WalletKey,
    /// The wallet's unit.
    pub unit: Unit,
    /// Names for it.
    pub names: Names,
    /// The wallet's balance now.
    pub balance: Balance,
}

/// A debit, read back.
#[derive(Clone, Debug)]
pub struct DebitView {
    /// The entry that made it: kind debit or capture.
    pub entry: Entry,
    /// What was charged.
    pub charge: Charge,
    /// What was given back so far.
    pub refunded: Amount,
    /// The wallet's unit.
    pub unit: Unit,
    /// Names for it.
    pub names: Names,
    /// The product's reference.
    pub reference: Option<String>,
    /// JSON object as compact text.
    pub metadata: Option<String>,
}

/// Why a debit cost what it cost.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The debit.
    pub debit: DebitView,
    /// The price version and its arithmetic; none where the caller stated the amount.
    pub priced: Option<(Price, Explanation)>,
    /// What paid for it, in the order in which it was taken.
    pub lots: Vec<Taken>,
    /// What nothing paid for at that time.
    pub owed: Amount,
    /// What was given back since, oldest first.
    pub refunds: Vec<Given>,
}

/// What a debit took from a lot.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// The lot.
    pub lot: LotId,
    /// Why it was given.
    pub kind: GrantKind,
    /// How much.
    pub amount: Amount,
    /// Its share of what was paid for the lot; none for a lot that nothing was paid for.
    pub money: Option<Money>,
}

/// What was given back of a debit.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// The entry that booked it.
    pub entry: EntryId,
    /// How much.
    pub amount: Amount,
    /// When.
    pub at: Timestamp,
}

/// A grant, read back.
#[derive(Clone, Debug)]
pub struct GrantView {
    /// The entry that made it.
    pub entry: Entry,
    /// Its lot as it is now.
    pub lot: Lot,
    /// Why it was given.
    pub kind: GrantKind,
    /// The wallet's unit.
    pub unit: Unit,
    /// Names for it.
    pub names: Names,
    /// The reason it was given.
    pub reason: Option<String>,
    /// The product's reference.
    pub reference: Option<String>,
}

/// What a user prefers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferencesView {
    /// The tenant's key; none for a personal tenant.
    pub tenant: Option<Key>,
    /// The user's key.
    pub user: Key,
    /// Above which costs it wants to be asked first.
    pub confirm_above: purser_core::confirm::Thresholds,
}

/// A unit with its name.
#[derive(Clone, Debug)]
pub struct UnitView {
    /// The unit.
    pub unit: Unit,
    /// What people call it.
    pub name: String,
}

/// An action with what the catalogue says beside its prices.
#[derive(Clone, Debug)]
pub struct ActionView {
    /// Key, number, prices, overage.
    pub action: std::sync::Arc<purser_core::catalogue::Action>,
    /// What people call it.
    pub name: String,
    /// What one of it is.
    pub unit_label: Option<String>,
    /// One paragraph.
    pub description: Option<String>,
    /// For grouping.
    pub category: Option<String>,
}

/// The whole catalogue, as a file holds it.
#[derive(Clone, Debug)]
pub struct CatalogueView {
    /// All units.
    pub units: Vec<UnitView>,
    /// All actions by key, each with its prices as a file names them.
    pub actions: Vec<(ActionView, Vec<FilePrice>)>,
}

/// A price as a catalogue file names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilePrice {
    /// The version.
    pub price: purser_core::catalogue::Price,
    /// Whether its instant is yet to come; else it is in force, and since when does not matter.
    pub scheduled: bool,
}

/// What applying a catalogue file changes, or would.
#[derive(Clone, Debug, Default)]
pub struct CatalogueDiff {
    /// Units that are made, or renamed: the name before.
    pub units: Vec<(UnitView, Option<String>)>,
    /// Actions that are made or changed, in the order of the file; then those that are switched off.
    pub actions: Vec<ActionChange>,
    /// How many actions of the file are as it says.
    pub unchanged: usize,
    /// Active actions that the file does not name and that stay.
    pub not_in_file: Vec<Key>,
    /// Versions that are scheduled, for actions and units of the file, and that it does not name: action, unit, instant.
    pub scheduled_not_in_file: Vec<(Key, Key, Timestamp)>,
    /// The units in which the prices are counted.
    pub catalogue: purser_core::catalogue::Catalogue,
    /// What the usage of the last days would have cost, where that was asked for.
    pub usage: Option<Rehearsal>,
}

/// What a new price would be, and would have done.
#[derive(Clone, Debug)]
pub struct PriceRehearsed {
    /// The version in force in its unit.
    pub before: Option<Price>,
    /// The proposed one.
    pub after: Price,
    /// What the usage of the last days would have cost.
    pub usage: Rehearsal,
}

/// What the usage of the last days would have cost at proposed prices.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// How many days were asked for.
    pub days: u32,
    /// What was recorded from here on is in it.
    pub from: Timestamp,
    /// And up to here.
    pub until: Timestamp,
    /// Whether there is more behind that was not looked at.
    pub truncated: bool,
    /// Debits at a price of the tenant's own, which stay as they were.
    pub own_price: u64,
    /// Captures whose amount was stated, which stay as they were.
    pub stated_amount: u64,
    /// Debits whose usage does not fit the proposed price: they would be refused, and count as they were.
    pub not_priceable: u64,
    /// The sums of each unit, by code.
    pub units: Vec<UsageSums>,
}

/// What was charged in one unit for actions whose price changes, and what would have been.
#[derive(Clone, Debug)]
pub struct UsageSums {
    /// The unit.
    pub unit: Unit,
    /// All of it.
    pub sum: UsageSum,
    /// By action, by key.
    pub by_action: Vec<UsageOfAction>,
    /// The tenants for whom most changes, first those.
    pub by_tenant: Vec<UsageOfTenant>,
}

/// What was charged, and what would have been.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsageSum {
    /// How many debits and captures.
    pub debits: u64,
    /// What they cost.
    pub before: Amount,
    /// What they would have cost.
    pub after: Amount,
    /// How much more that is.
    pub difference: Amount,
}

/// One action's part.
#[derive(Clone, Debug)]
pub struct UsageOfAction {
    /// The action.
    pub action: Key,
    /// Its sum.
    pub sum: UsageSum,
}

/// One tenant's part.
#[derive(Clone, Debug)]
pub struct UsageOfTenant {
    /// Its key; none for a personal tenant, and where it was erased.
    pub tenant: Option<Key>,
    /// The user whose personal tenant it is.
    pub user: Option<Key>,
    /// Its sum.
    pub sum: UsageSum,
}

/// What happens to an action.
#[derive(Clone, Debug)]
pub struct ActionChange {
    /// As it was; none for a new one.
    pub before: Option<ActionView>,
    /// As it will be; its prices are those of `prices`, where it is new.
    pub after: ActionView,
    /// New versions, each with the one that it takes the place of.
    pub prices: Vec<(Option<purser_core::catalogue::Price>, FilePrice)>,
    /// Whether it is switched off because the file does not name it.
    pub pruned: bool,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Asks for the next page; none on the last one.
    pub next_cursor: Option<String>,
}

/// Something that happened to a wallet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventView {
    /// Its type.
    pub kind: &'static str,
    /// What was announced.
    pub row: Announced,
    /// Tenant and user.
    pub names: Names,
    /// `limit.alert`: what was reached.
    pub alert: Option<AlertView>,
}

/// A share of a limit that was reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlertView {
    /// Which share of which limit.
    pub alert: Alert,
    /// The user whose usage it counts; none where that of all users counts together.
    pub user: Option<Key>,
    /// When the next period begins.
    pub resets_at: Timestamp,
}

/// Events, and the cursor behind them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Events {
    /// The events.
    pub data: Vec<EventView>,
    /// Asks for what follows; there is always one.
    pub next_cursor: String,
    /// Whether more was there already.
    pub more: bool,
}

/// How often something was refused, with the action's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusalView {
    /// What was counted.
    pub row: RefusalRow,
    /// What was asked for.
    pub action: Option<Key>,
}

/// What an entry's kind is called in a statement when no action names it.
pub fn title_of(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Grant => "Credits added",
        EntryKind::Debit | EntryKind::Capture => "Usage",
        EntryKind::Refund => "Refund",
        EntryKind::Hold => "Reserved",
        EntryKind::Extend => "Reservation extended",
        EntryKind::Release => "Reservation released",
        EntryKind::HoldExpire => "Reservation expired",
        EntryKind::Expire => "Credits expired",
        EntryKind::Revoke => "Credits revoked",
        EntryKind::Repay => "Debt repaid",
        EntryKind::Reverse => "Purchase reversed",
        EntryKind::Reinstate => "Reversal undone",
        EntryKind::Freeze => "Credits set aside",
        EntryKind::Thaw => "Credits returned from set-aside",
        EntryKind::TransferOut => "Transfer to another wallet",
        EntryKind::TransferIn => "Transfer from another wallet",
        EntryKind::ConvertOut => "Converted to another unit",
        EntryKind::ConvertIn => "Converted from another unit",
    }
}

/// A tenant's discount as lists show it.
#[derive(Clone, Debug)]
pub struct DiscountView {
    /// The discount.
    pub discount: TenantDiscount,
    /// Names of its tenant, user and action.
    pub names: Names,
    /// Whether it is what counts now, of those about the same action.
    pub in_force: bool,
}

/// A limit as lists show it.
#[derive(Clone, Debug)]
pub struct LimitView {
    /// The limit.
    pub limit: Limit,
    /// Names of its tenant, user and action.
    pub names: Names,
    /// What it counts.
    pub unit: Unit,
    /// What counts against it in this period; none where that differs from user to user.
    pub used: Option<Amount>,
    /// When the next period begins.
    pub resets_at: Timestamp,
}

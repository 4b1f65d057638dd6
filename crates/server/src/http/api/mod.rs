//! The resources of `/v1`: one file each, with its wire types, handlers and their part of the API document.
//!
//! A handler parses, hands an ask to one use case and renders what comes back; there is no `if` about credits here.
//! Wire types are not domain types: they are converted in the file that owns them. Start with `debits.rs`.

pub mod actions;
pub mod balance;
pub mod batch;
pub mod catalogue;
pub mod debits;
pub mod discounts;
pub mod events;
pub mod explain;
pub mod gate;
pub mod gate_outcomes;
pub mod gate_rules;
pub mod grants;
pub mod holds;
pub mod limits;
pub mod preferences;
pub mod preflight;
pub mod prices;
pub mod rates;
pub mod refusals;
pub mod reports;
pub mod reprice;
pub mod stream;
pub mod tenant_prices;
pub mod transfers;
pub mod units;
pub mod usage;
pub mod usage_events;
pub mod wallets;

use purser_app::view::Page;
use serde::Serialize;
use utoipa::ToSchema;

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = List)]
pub struct ListOut<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Give it as `cursor` to get the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl<T> ListOut<T> {
    /// Renders each row.
    pub fn of<V>(page: Page<V>, render: impl Fn(V) -> T) -> ListOut<T> {
        ListOut { data: page.data.into_iter().map(render).collect(), next_cursor: page.next_cursor }
    }
}

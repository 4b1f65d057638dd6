//! `GET /v1/events`: facts going out.

use axum::extract::State;
use purser_app::App;
use purser_app::ask::EventsAsk;
use purser_app::usecase::event;
use purser_app::view::{AlertView, EventView};
use purser_core::TenantNo;
use purser_core::catalogue::Unit;
use purser_core::id::Prefix;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::refusals::OfReads;
use crate::http::extract::{Query, Reader};
use crate::http::outgoing::{AmountOut, IdOut, TimeOut};
use crate::http::problem::{Problem, ProblemOut};
use crate::http::query::{FromQuery, PageQuery, Params};
use crate::http::reply::Reply;

/// Something that happened to a wallet. `wallet_id`, `first_seq` and `type` name it, and for a `limit.alert` its limit and share.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventOut {
    /// `wallet.` and the kind of movement (`wallet.debit`, `wallet.grant` …), `wallet.low` when what can be spent fell to a fifth
    /// of the last top-up or less, `wallet.depleted` when it fell to nothing, `limit.alert` when a share of a limit was reached. Others
    /// may come: `wallet.changed` is told of what a later version wrote.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The tenant; null for a personal one.
    #[schema(required)]
    tenant: Option<String>,
    /// Whose wallet it is; null for a pool, and once erased.
    #[schema(required)]
    user: Option<String>,
    /// The wallet.
    wallet_id: IdOut,
    /// The seq of the first entry that was booked for it.
    first_seq: u64,
    /// How many entries were booked.
    entries: u64,
    /// When.
    created_at: TimeOut,
    /// `limit.alert`: what was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    alert: Option<AlertOut>,
}

/// A share of a limit that a charge reached, which it had not been before in the period.
#[derive(Serialize, ToSchema)]
#[schema(as = LimitAlert)]
pub struct AlertOut {
    /// The limit.
    limit_id: IdOut,
    /// The user whose usage it counts; null where that of all users counts together, and once erased.
    #[schema(required)]
    user: Option<String>,
    /// The share, in percent.
    percent: u8,
    /// What counts against the limit with this charge.
    used: AmountOut,
    /// The most that it allows.
    amount: AmountOut,
    /// The unit of both.
    unit: String,
    /// When the next period begins.
    resets_at: TimeOut,
}

impl AlertOut {
    fn new(view: AlertView, tenant: TenantNo, unit: &Unit) -> AlertOut {
        let AlertView { alert, user, resets_at } = view;
        AlertOut {
            limit_id: IdOut::new(Prefix::Limit, tenant, alert.limit),
            user: user.map(|key| key.to_string()),
            percent: alert.percent,
            used: AmountOut::of(unit, alert.used),
            amount: AmountOut::of(unit, alert.amount),
            unit: unit.code.to_string(),
            resets_at: TimeOut(resets_at),
        }
    }
}

impl From<EventView> for EventOut {
    fn from(view: EventView) -> EventOut {
        let EventView { kind, row, names, alert } = view;
        let text = |key: Option<purser_core::Key>| key.map(|key| key.to_string());
        EventOut {
            kind,
            tenant: text(names.tenant),
            user: text(names.user),
            wallet_id: IdOut::wallet(row.wallet),
            first_seq: row.first_seq,
            entries: row.entries,
            created_at: TimeOut(row.recorded_at),
            alert: alert.map(|alert| AlertOut::new(alert, row.wallet.tenant, &row.unit)),
        }
    }
}

/// Events, and where to go on.
#[derive(Serialize, ToSchema)]
#[schema(as = Events)]
pub struct EventsOut {
    /// Those behind the cursor, of one wallet in the order of its entries. A page may be empty although more follow.
    data: Vec<EventOut>,
    /// Give it as `cursor` to get what follows; there is always one, as there is always more to come. It is opaque, each time another,
    /// and for keys of the same tenant, or of none, alone.
    next_cursor: String,
    /// Whether more is there already: then ask again at once.
    has_more: bool,
}

/// Which events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Of this tenant only.
    #[param(nullable = false)]
    tenant: Option<String>,
    /// Of this type only.
    #[param(rename = "type", nullable = false)]
    kind: Option<String>,
    /// Where to begin without a cursor: `oldest` (unless said), or `newest` for a cursor behind everything there is.
    #[param(nullable = false)]
    start: Option<String>,
}

impl FromQuery for EventsQuery {
    fn from_query(params: &mut Params) -> Result<EventsQuery, Problem> {
        Ok(EventsQuery {
            tenant: params.take("tenant"),
            kind: params.take("type"),
            start: params.take("start"),
        })
    }
}

/// Lists what happened to wallets
///
/// Those of one wallet in the order of its entries, a page at a time; keep the cursor and ask again. `limit` counts movements, of which one may be told as several
/// events.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "list_events",
    params(EventsQuery, PageQuery),
    responses((status = 200, description = "A page of events", body = EventsOut),
        (status = 410, description = "The cursor is of another database, or ahead of this one: begin anew", body = ProblemOut,
            content_type = "application/problem+json"), OfReads))]
pub async fn list(
    Reader(caller): Reader,
    State(app): State<App>,
    Query((query, page)): Query<(EventsQuery, PageQuery)>,
) -> Result<Reply<EventsOut>, Problem> {
    let from_now = match query.start.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Problem::field("?start", "unknown_value", "oldest or newest")),
    };
    let ask = EventsAsk { tenant: query.tenant, kind: query.kind, from_now, page: page.into() };
    let events = event::list(&app, &caller, ask).await;
    let events = events.map_err(|error| Problem::from(error).in_query())?;
    let data = events.data.into_iter().map(EventOut::from).collect();
    Ok(Reply::ok(EventsOut { data, next_cursor: events.next_cursor, has_more: events.more }))
}

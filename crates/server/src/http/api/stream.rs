//! The live balance of a wallet, as Server-Sent Events.
//!
//! The body is made as it is sent: what changes while a client reads slowly is told as one change. A comment now and then
//! tells proxies and clients that the stream is alive. What may end a stream is the use case's to say.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use purser_app::App;
use purser_app::usecase::stream::{self, BalanceStream, LiveEvent};
use purser_app::view::LiveBalance;
use serde::Serialize;
use utoipa::ToSchema;

use super::balance::BalanceOut;
use super::refusals::OfReads;
use crate::http::extract::{NoQuery, PathText, Reader};
use crate::http::outgoing::{IdOut, TimeOut};
use crate::http::problem::Problem;

/// The media type of Server-Sent Events.
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Tells nginx to pass on each event as it comes.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What an event of the kind `balance` carries.
#[derive(Serialize, ToSchema)]
#[schema(as = BalanceEvent)]
pub struct BalanceEventOut {
    /// The wallet.
    wallet_id: IdOut,
    /// The code of its unit.
    unit: String,
    /// Its balance at `as_of`.
    balance: BalanceOut,
    /// The instant of the balance.
    as_of: TimeOut,
}

impl From<&LiveBalance> for BalanceEventOut {
    fn from(live: &LiveBalance) -> BalanceEventOut {
        BalanceEventOut {
            wallet_id: IdOut::wallet(live.key),
            unit: live.unit.code.to_string(),
            balance: BalanceOut::new(&live.unit, &live.balance),
            as_of: TimeOut(live.as_of),
        }
    }
}

/// The events of a stream, made when they are asked for.
struct Events {
    next: Pin<Box<dyn Future<Output = (BalanceStream, Option<LiveEvent>)> + Send>>,
}

impl Events {
    fn of(mut stream: BalanceStream) -> Events {
        Events {
            next: Box::pin(async move {
                let event = stream.next().await;
                (stream, event)
            }),
        }
    }
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (stream, event) = ready!(self.next.as_mut().poll(context));
        *self = Events::of(stream);
        Poll::Ready(event.map(|event| Ok(Frame::data(text(&event)))))
    }
}

/// An event as it is sent.
fn text(event: &LiveEvent) -> Bytes {
    let live = match event {
        LiveEvent::Balance(live) => live,
        LiveEvent::Quiet => return Bytes::from_static(b":\n\n"),
    };
    let mut text = format!("id: {}\nevent: balance\ndata: ", live.seq).into_bytes();
    let event = BalanceEventOut::from(live);
    serde_json::to_writer(&mut text, &event).expect("strings, numbers and maps of them serialise");
    text.extend_from_slice(b"\n\n");
    Bytes::from(text)
}

/// Streams the balance of a wallet
///
/// Server-Sent Events, each of the kind `balance` with a BalanceEvent as its data and the number of the wallet's last entry
/// as its id: the present balance at once, then every change, at most ten a second. The balance is told, never what
/// happened between, so a client that reconnects has missed nothing. A comment comes when 15 seconds were quiet. The
/// stream ends when the service stops or the key is revoked.
#[utoipa::path(get, path = "/v1/wallets/{id}/stream", tag = "wallets", operation_id = "stream_balance",
    params(("id" = String, Path, description = "The wallet")),
    responses((status = 200, description = "Events", body = BalanceEventOut, content_type = "text/event-stream"), OfReads))]
pub async fn open(
    Reader(caller): Reader,
    State(app): State<App>,
    PathText(id): PathText,
    _: NoQuery,
) -> Result<Response, Problem> {
    let events = Events::of(stream::balance(&app, &caller, &id).await?);
    let headers = [
        (header::CONTENT_TYPE, EVENT_STREAM),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (UNBUFFERED, HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::new(events)).into_response())
}

//! The HTTP face: how bytes become asks and answers become bytes. No rules about credits live here.
//!
//! `router.rs` is the whole URL map; `api/` has one file for each resource; `edge.rs` is what surrounds every
//! route; `extract.rs` is what handlers take as arguments. Start with the router, then `api/debits.rs`.

pub mod api;
pub mod body;
pub mod cloudevents;
pub mod confirm;
pub mod docs;
pub mod edge;
pub mod extract;
pub mod incoming;
pub mod listen;
pub mod metrics;
pub mod noop;
pub mod object;
pub mod operations;
pub mod outgoing;
pub mod pages;
pub mod problem;
pub mod query;
pub mod reply;
pub mod router;

use std::future::Future;

use purser_app::App;
use tokio::net::TcpListener;

/// Serves `app` until `stop` is done. Streams end then; what else is under way is finished.
pub async fn serve(app: App, listener: TcpListener, connections_max: usize, stop: impl Future<Output = ()>) {
    let routes = router::router(app.clone());
    let stop = async {
        stop.await;
        app.end_streams();
    };
    listen::serve(listener, routes, connections_max, stop).await;
}

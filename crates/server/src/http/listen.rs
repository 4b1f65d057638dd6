//! Accepting connections and letting them go: HTTP/1.1 with keep-alive, bounded in number and in the time to stop.
//!
//! It knows nothing of routes. Stopping means: no new connection, idle ones are closed, what is under way is finished,
//! and after a bounded time the rest is dropped.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::Service;

/// How long a client may take to send a request's head, and how long an idle connection is kept.
const HEAD_MAX: Duration = Duration::from_secs(75);
/// How long what is under way may take once the service stops.
pub const STOP_MAX: Duration = Duration::from_secs(30);
/// How long to wait when the system has no more descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `stop` is done, then finishes what is under way.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: usize,
    stop: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    // An answer is one short buffer, which costs less to copy than a vectored write. It leaves at once, whatever else the
    // client has sent: `pipeline_flush` would keep it back until a request that has only half arrived is complete.
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).writev(false);
    let mut stop = std::pin::pin!(stop);
    loop {
        // Past the limit, connections wait in the system's queue until one of ours ends.
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
            () = &mut stop => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection stays with delays");
        }
        let router = router.clone();
        let service =
            service_fn(move |request: hyper::Request<Incoming>| router.clone().call(request.map(Body::new)));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after {} seconds and are dropped", STOP_MAX.as_secs());
    }
}

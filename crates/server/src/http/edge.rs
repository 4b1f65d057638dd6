//! The layer around every route: request ids, problem documents, bugs, and what is measured.
//!
//! It sits inside the router, once for each route and method, so the metrics of a route are looked up once and then
//! held. It adds one allocation to a request and no span; only faults and bugs are logged, once, here.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use purser_app::App;
use tower::{Layer, Service};

use super::body::read_to_its_end;
use super::metrics::RouteMetrics;
use super::problem::{Problem, unit_in};

/// Names a request in answers and logs.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a client.
const REQUEST_ID_MAX: usize = 128;

/// Puts the edge around routes. Without an app (the no-op handler of the bench) nothing is timed.
#[derive(Clone)]
pub struct EdgeLayer {
    app: Option<App>,
}

impl EdgeLayer {
    /// The edge of a service.
    pub fn new(app: Option<App>) -> EdgeLayer {
        EdgeLayer { app }
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge { inner, app: self.app.clone(), metrics: Arc::default() }
    }
}

/// One route and method with its edge.
#[derive(Clone)]
pub struct Edge<S> {
    inner: S,
    app: Option<App>,
    metrics: Arc<OnceLock<RouteMetrics>>,
}

impl<S> Service<Request> for Edge<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let id = request_id(request.headers_mut());
        self.metrics.get_or_init(|| {
            let path = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
            RouteMetrics::new(request.method().as_str(), path)
        });
        let started = self.app.as_ref().map(App::monotonic);
        let answer = caught(self.inner.call(read_to_its_end(request)));
        let (app, metrics) = (self.app.clone(), self.metrics.clone());
        Box::pin(async move {
            let mut response = match answer.await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(bug) => axum::response::IntoResponse::into_response(Problem::fault(bug)),
            };
            if let Some(problem) = response.extensions_mut().remove::<Problem>() {
                response = written_out(&problem, response, &id, app.as_ref());
            }
            response.headers_mut().insert(REQUEST_ID, id);
            if let (Some(app), Some(metrics), Some(started)) = (app, metrics.get(), started) {
                metrics.record(response.status(), elapsed(started, app.monotonic()));
            }
            Ok(response)
        })
    }
}

fn elapsed(started: i64, now: i64) -> Duration {
    Duration::from_micros(now.saturating_sub(started).max(0).unsigned_abs())
}

/// The problem's document, with the headers that the router gave its answer (such as `Allow`).
fn written_out(problem: &Problem, given: Response, id: &HeaderValue, app: Option<&App>) -> Response {
    let id = id.to_str().unwrap_or_default();
    problem.log(id);
    let mut response = match app {
        Some(app) => problem.render(id, unit_in(app)),
        None => problem.render(id, |_| None),
    };
    for (name, value) in given.headers() {
        if !response.headers().contains_key(name) && name != axum::http::header::CONTENT_LENGTH {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// The id the client chose, if it is sane, or a fresh one, which the request's headers then carry.
fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    if let Some(chosen) = headers.get(REQUEST_ID)
        && is_sane(chosen.as_bytes())
    {
        return chosen.clone();
    }
    let fresh = fresh_id();
    headers.insert(REQUEST_ID, fresh.clone());
    fresh
}

fn is_sane(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte);
    (1..=REQUEST_ID_MAX).contains(&id.len()) && id.iter().all(plain)
}

/// Forty bits of chance from the process, so that two processes do not name the same, and a counter.
fn fresh_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("purser request"));
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut text = *b"req_00000000000000000000";
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut number = u128::from(*PROCESS & 0xff_ffff_ffff) << 40 | u128::from(counter & 0xff_ffff_ffff);
    for digit in text[4..].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
    HeaderValue::from_bytes(&text).expect("hexadecimal digits")
}

/// Polls `future` and turns a panic into its message, so that a bug costs one request and not its connection.
async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(format!("bug: {}", said(&*panic)))),
        }
    })
    .await
}

fn said(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "a panic without a message"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_names_its_request_if_the_name_is_sane() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("trace-1:2"));
        assert_eq!(request_id(&mut headers), "trace-1:2");
        headers.insert(REQUEST_ID, HeaderValue::from_static("a b\""));
        assert!(request_id(&mut headers).to_str().expect("ASCII").starts_with("req_"));
    }

    #[test]
    fn fresh_ids_differ() {
        assert_ne!(fresh_id(), fresh_id());
    }

    #[tokio::test]
    async fn a_bug_is_caught_with_its_message() {
        let broken = async { panic!("the sum is off") };
        assert_eq!(caught::<_>(broken).await, Err::<(), _>("bug: the sum is off".to_string()));
        assert_eq!(caught(async { 7 }).await, Ok(7));
    }
}

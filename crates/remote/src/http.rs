//! HTTP/1.1 to one server: kept connections, bounded in number, time and size of answers.
//!
//! It retries what is safe to retry: every request that comes here is either a read or carries an idempotency key, so a
//! request whose answer was lost is sent again under the same key. It knows nothing of what is asked.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Limits of a connection pool.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections; further requests wait for one.
    pub connections: usize,
    /// How long a connection may take to open.
    pub connect: Duration,
    /// How long one attempt may take, from request to the end of its answer.
    pub answer: Duration,
    /// The longest answer, in bytes.
    pub answer_bytes: usize,
    /// How often a request is tried before giving up.
    pub attempts: u32,
    /// The longest pause between two attempts, whatever the server asks for.
    pub pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 32,
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            answer_bytes: 4 << 20,
            attempts: 6,
            pause: Duration::from_secs(10),
        }
    }
}

/// The pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Why there is no answer. None of these says whether the server acted.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address cannot be used.
    #[error("{url}: {why}")]
    Address {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key that no header can carry.
    #[error("the API key contains characters that no header can carry")]
    Key,
    /// Nobody answers there.
    #[error("{authority}: {source}")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Slow(Duration),
    /// The answer is longer than anything expected.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The server keeps saying that it cannot take the request now.
    #[error("the server is unavailable ({0})")]
    Unavailable(String),
    /// The answer is not what this version of Purser answers.
    #[error("an unexpected answer: {0}")]
    Unexpected(String),
}

impl RemoteError {
    /// Whether the same request may succeed later.
    fn is_passing(&self) -> bool {
        match self {
            RemoteError::Connect { .. } | RemoteError::Broken(_) | RemoteError::Slow(_) => true,
            RemoteError::Address { .. }
            | RemoteError::Key
            | RemoteError::TooLong(_)
            | RemoteError::Unavailable(_)
            | RemoteError::Unexpected(_) => false,
        }
    }
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Whether the server says that it did this before, under the same key.
    pub replayed: bool,
    /// The body.
    pub body: Bytes,
    retry_after: Option<Duration>,
}

/// One server, and the connections to it.
pub struct Http {
    authority: String,
    bearer: HeaderValue,
    limits: Limits,
    places: Semaphore,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Http {
    /// Calls to the server at `url`, such as `http://127.0.0.1:8080`, with this API key.
    ///
    /// # Errors
    /// [`RemoteError::Address`] and [`RemoteError::Key`]; nothing is connected yet.
    pub fn new(url: &str, key: &str, limits: Limits) -> Result<Http, RemoteError> {
        let authority = authority(url)?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| RemoteError::Key)?;
        bearer.set_sensitive(true);
        let places = Semaphore::new(limits.connections);
        Ok(Http { authority, bearer, limits, places, idle: Mutex::default() })
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// When no attempt brings an answer.
    pub async fn get(&self, path: &str) -> Result<Response, RemoteError> {
        self.ask(Method::GET, path, Bytes::new(), None).await
    }

    /// Posts JSON to `path`, under this idempotency key where it moves credits.
    ///
    /// # Errors
    /// When no attempt brings an answer.
    pub async fn post(&self, path: &str, json: Vec<u8>, key: Option<&str>) -> Result<Response, RemoteError> {
        self.ask(Method::POST, path, json.into(), key).await
    }

    /// Puts JSON at `path`: to do it again changes nothing more.
    ///
    /// # Errors
    /// When no attempt brings an answer.
    pub async fn put(&self, path: &str, json: Vec<u8>) -> Result<Response, RemoteError> {
        self.ask(Method::PUT, path, json.into(), None).await
    }

    /// Asks until there is an answer other than 503, always under the same key, a bounded number of times.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        key: Option<&str>,
    ) -> Result<Response, RemoteError> {
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let request = self.request(&method, path, body.clone(), key)?;
            let answered = tokio::time::timeout(self.limits.answer, self.attempt(request)).await;
            let failed = match answered.unwrap_or(Err(RemoteError::Slow(self.limits.answer))) {
                Ok(response) if response.status == 503 => {
                    pause = response.retry_after.unwrap_or(pause);
                    RemoteError::Unavailable(String::from_utf8_lossy(&response.body).into_owned())
                }
                Err(error) if error.is_passing() => error,
                done => return done,
            };
            if attempt == self.limits.attempts {
                return Err(failed);
            }
            attempt += 1;
            tokio::time::sleep(pause.min(self.limits.pause)).await;
            pause *= 2;
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
        key: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, RemoteError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::AUTHORIZATION, &self.bearer);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        request.body(Full::new(body)).map_err(|error| RemoteError::Unexpected(error.to_string()))
    }

    async fn attempt(&self, request: Request<Full<Bytes>>) -> Result<Response, RemoteError> {
        let mut connection = self.connection().await?;
        let response = connection.send_request(request).await?;
        let (head, body) = response.into_parts();
        let most = self.limits.answer_bytes;
        let body = Limited::new(body, most).collect().await.map_err(|error| {
            match error.downcast::<hyper::Error>() {
                Ok(broken) => RemoteError::Broken(*broken),
                Err(other) if other.is::<LengthLimitError>() => RemoteError::TooLong(most),
                Err(other) => RemoteError::Unexpected(other.to_string()),
            }
        })?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(Response {
            status: head.status.as_u16(),
            replayed: head.headers.get(IDEMPOTENT_REPLAYED).is_some_and(|value| value == "true"),
            body: body.to_bytes(),
            retry_after: retry_after(&head.headers),
        })
    }

    /// A kept connection that is still open, or a new one.
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, RemoteError> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut kept) = kept else { break };
            // The server may have closed it meanwhile: then the next one is tried.
            if kept.ready().await.is_ok() {
                return Ok(kept);
            }
        }
        let failed = |source| RemoteError::Connect { authority: self.authority.clone(), source };
        let opened = tokio::time::timeout(self.limits.connect, TcpStream::connect(&self.authority)).await;
        let stream = opened.map_err(|_| RemoteError::Slow(self.limits.connect))?.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Whoever waits for an answer hears of it when the connection breaks; here nobody is left to tell.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

/// Seconds, as Purser sends them; dates are for caches.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Host and port of a URL that can be called.
fn authority(url: &str) -> Result<String, RemoteError> {
    let refuse = |why| Err(RemoteError::Address { url: url.to_string(), why });
    let Ok(uri) = url.parse::<Uri>() else { return refuse("is not a URL such as http://127.0.0.1:8080") };
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return refuse(
                "TLS is not spoken here: use http:// on the loopback interface, or to a proxy nearby that adds TLS",
            );
        }
        Some(_) | None => return refuse("should begin with http://"),
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return refuse("should end after host and port: the paths of the API are added here");
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => refuse("should not contain a user"),
        Some(authority) if authority.port().is_some() => Ok(authority.to_string()),
        Some(authority) => Ok(format!("{authority}:80")),
        None => refuse("names no host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that gives these answers, one for each request, and remembers the requests. An empty answer closes
    /// the connection.
    async fn server(answers: Vec<String>) -> (Http, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let requests = heard.clone();
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            while let Ok((mut stream, _)) = listener.accept().await {
                while let Some(request) = read(&mut stream).await {
                    requests.lock().unwrap().push(request);
                    let answer = answers.next().unwrap_or_default();
                    if answer.is_empty() {
                        break;
                    }
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        let limits =
            Limits { attempts: 3, pause: Duration::from_millis(1), answer_bytes: 100, ..Limits::default() };
        (Http::new(&url, "psk_1", limits).unwrap(), heard)
    }

    async fn read(stream: &mut TcpStream) -> Option<String> {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        loop {
            let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            // The bodies of these tests are {} or nothing.
            if text.ends_with("{}") || text.ends_with("\r\n\r\n") && !text.contains("content-length: 2") {
                return Some(text);
            }
        }
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn what_was_unavailable_or_cut_off_is_sent_again_under_the_same_key() {
        let unavailable = answer("503 Busy\r\nRetry-After: 0", "");
        let done = answer("201 Created\r\nIdempotent-Replayed: true", "[]");
        let (http, heard) = server(vec![unavailable, String::new(), done]).await;
        let response = http.post("/v1/debits", b"{}".to_vec(), Some("k-1")).await.unwrap();
        assert_eq!((response.status, response.replayed, &response.body[..]), (201, true, &b"[]"[..]));
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 3);
        assert!(heard.iter().all(|request| request == &heard[0]), "{heard:?}");
        assert!(
            heard[0].contains("idempotency-key: k-1\r\n")
                && heard[0].contains("authorization: Bearer psk_1\r\n")
        );
    }

    #[tokio::test]
    async fn attempts_are_bounded_and_refusals_are_answers() {
        let unavailable = answer("503 Busy", "why");
        let (http, heard) = server(vec![unavailable.clone(), unavailable.clone(), unavailable]).await;
        let error = http.get("/").await.unwrap_err();
        assert!(matches!(&error, RemoteError::Unavailable(why) if why == "why"), "{error}");
        assert_eq!(heard.lock().unwrap().len(), 3);
        let (http, heard) = server(vec![answer("402 Payment Required", "{}")]).await;
        assert_eq!(http.get("/").await.unwrap().status, 402);
        assert_eq!(heard.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_not_read() {
        let (http, _) = server(vec![answer("200 OK", &"x".repeat(101))]).await;
        assert!(matches!(http.get("/").await, Err(RemoteError::TooLong(100))));
    }

    #[tokio::test]
    async fn a_connection_is_used_again() {
        // The server answers one connection at a time: a second one would wait for ever.
        let (http, heard) = server(vec![answer("200 OK", "1"), answer("200 OK", "2")]).await;
        for expected in ["1", "2"] {
            assert_eq!(&http.get("/").await.unwrap().body[..], expected.as_bytes());
        }
        assert_eq!(heard.lock().unwrap().len(), 2);
    }

    #[test]
    fn only_plain_http_to_a_host_is_called() {
        assert_eq!(authority("http://127.0.0.1:8080").unwrap(), "127.0.0.1:8080");
        assert_eq!(authority("http://[::1]:8080/").unwrap(), "[::1]:8080");
        assert_eq!(authority("http://purser").unwrap(), "purser:80");
        let refused = |url: &str| authority(url).unwrap_err().to_string();
        assert!(refused("https://purser.example").contains("proxy"), "{}", refused("https://purser.example"));
        for bad in ["purser.example:8080", "/v1", "http://a/v1", "http://a?x=1", "http://me@a", "ftp://a", ""]
        {
            assert!(refused(bad).starts_with(bad), "{bad}");
        }
    }
}

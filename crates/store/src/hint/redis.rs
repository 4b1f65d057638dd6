//! The hints that nodes share through Redis, on one connection that is given up at the first sign of trouble.
//!
//! [`Link`] has a connection or none. A question that is answered with an error, or not within the deadline while nobody
//! else was answered either, takes the connection away from everybody at once; the keeper alone tries to get another,
//! with growing pauses, and hands it out only after Redis answered the very question that counted calls ask, in time. So
//! an outage costs the calls that were waiting one deadline each, and later ones nothing. Nothing here panics over what
//! Redis says.

use super::local::{Hub, Queue};
use super::{HintError, Rate, RedisOptions, Sharing, Taken};
use purser_core::{Id, TenantNo, WalletId, WalletKey};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisResult, Value,
};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// How long getting a connection may take.
const DIAL_MAX: Duration = Duration::from_secs(1);
/// How often an idle connection is tried, and how long the answer may take.
const BEAT: Duration = Duration::from_secs(1);
/// Pauses between tries at a connection: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// After so many beats a connection counts as a good one, and the next pause is the first again.
const SOUND_BEATS: u32 = 30;
/// Questions that Redis answers in time before it is trusted with others.
const PROBES: u32 = 3;
/// Wallets of one message.
const MESSAGE_MAX: usize = 1_024;
/// Bytes of a wallet in a message.
const WALLET_BYTES: usize = 24;

/// Counts a call as `count` in `local.rs` does, in microseconds of Redis' clock. One key, so a cluster runs it, too. The
/// key is kept until its bucket is full, which is what a missing one means.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gap = 1000000 / ARGV[1]
local room = gap * ARGV[2]
local full_at = tonumber(redis.call('GET', KEYS[1])) or now
full_at = math.min(math.max(full_at, now), now + room)
local after = full_at + gap
local lacking = after - now - room
if lacking > 0.5 then
  return {0, 0, math.ceil(lacking), math.ceil(full_at - now)}
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {1, math.floor((0.5 - lacking) / gap), 0, math.ceil(after - now)}
";

/// What there is of a connection.
enum Line {
    /// Nothing was tried yet.
    Untried,
    /// Redis takes part.
    Up { number: u64, connection: MultiplexedConnection },
    /// Redis is away, for this reason.
    Away(String),
}

/// Why Redis was of no use.
enum Trouble {
    /// It did not answer in time.
    Late(Duration),
    /// It answered something else, or the connection broke.
    Error(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Late(most) => write!(f, "no answer within {} ms", most.as_millis()),
            Trouble::Error(why) => f.write_str(why),
        }
    }
}

/// The way to Redis.
pub(super) struct Link {
    client: Client,
    prefix: String,
    channel: String,
    node: [u8; 8],
    deadline: Duration,
    hub: Arc<Hub>,
    outbox: Queue,
    /// How many calls were counted in time.
    answered: AtomicU64,
    line: watch::Sender<Line>,
}

impl Link {
    /// Reads the URL. Connects to nothing yet.
    pub(super) fn new(options: RedisOptions, hub: Arc<Hub>) -> Result<Link, HintError> {
        let RedisOptions { url, deployment, node, deadline } = options;
        let info = url.as_str().into_connection_info().map_err(unusable)?;
        if url.starts_with("rediss:") {
            // Whoever was first may have chosen another provider, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        // Messages come on the connection that asks, so that trying it tries both; nothing waits for a full packet.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info =
            info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        // One deployment is one slot of a cluster.
        let prefix = format!("purser:{{{deployment}}}:");
        Ok(Link {
            client: Client::open(info).map_err(unusable)?,
            channel: format!("{prefix}wake:1"),
            prefix,
            node: node.to_be_bytes(),
            deadline,
            hub,
            outbox: Queue::default(),
            answered: AtomicU64::new(0),
            line: watch::Sender::new(Line::Untried),
        })
    }

    /// Whether Redis takes part.
    pub(super) fn is_up(&self) -> bool {
        matches!(*self.line.borrow(), Line::Up { .. })
    }

    /// How things stand, once there has been a first try.
    pub(super) async fn sharing(&self) -> Sharing {
        let mut line = self.line.subscribe();
        let tried = line.wait_for(|line| !matches!(line, Line::Untried)).await;
        match tried.as_deref() {
            Ok(Line::Up { .. }) => Sharing::Shared,
            Ok(Line::Away(why)) => Sharing::Away(why.clone()),
            Ok(Line::Untried) | Err(_) => Sharing::Away("nothing was tried yet".to_string()),
        }
    }

    /// Queues wake-ups for other nodes, if there is a way to them.
    pub(super) fn announce(&self, wallets: &[WalletKey]) {
        if self.is_up() {
            self.outbox.push(wallets);
        }
    }

    /// Counts a call among all nodes; none when Redis is away, or did not answer in time.
    pub(super) async fn take(&self, key: &str, rate: Rate) -> Option<Taken> {
        let (number, mut connection) = match &*self.line.borrow() {
            Line::Up { number, connection } => (*number, connection.clone()),
            Line::Untried | Line::Away(_) => return None,
        };
        let answered = self.answered.load(Ordering::Relaxed);
        let trouble = match self.count(&mut connection, key, rate).await {
            Ok(taken) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                return Some(taken);
            }
            Err(trouble) => trouble,
        };
        // When others were answered meanwhile, this node was too busy to hear its answer, and Redis is not to blame.
        let straggler =
            matches!(trouble, Trouble::Late(_)) && self.answered.load(Ordering::Relaxed) != answered;
        if !straggler {
            self.give_up(number, &trouble.to_string());
        }
        None
    }

    async fn count(
        &self,
        connection: &mut MultiplexedConnection,
        key: &str,
        rate: Rate,
    ) -> Result<Taken, Trouble> {
        let mut script = redis::cmd("EVAL");
        script.arg(SCRIPT).arg(1).arg(format!("{}rate:{key}", self.prefix));
        script.arg(rate.per_second.get()).arg(rate.burst.get());
        let (allowed, remaining, retry, reset): (u8, u32, u64, u64) =
            within(self.deadline, script.query_async(connection)).await?;
        Ok(Taken {
            allowed: allowed == 1,
            remaining,
            retry_after: Duration::from_micros(retry),
            reset_after: Duration::from_micros(reset),
        })
    }

    /// Takes this connection away from everybody.
    fn give_up(&self, number: u64, why: &str) {
        self.line.send_if_modified(|line| {
            let ours = matches!(line, Line::Up { number: known, .. } if *known == number);
            if ours {
                *line = Line::Away(why.to_string());
            }
            ours
        });
    }

    /// Gets a connection, keeps it for as long as it is good, and gets another. Never ends.
    pub(super) async fn keep(self: Arc<Link>) {
        let (first, longest) = PAUSES;
        let (mut pause, mut said_away) = (first, false);
        for number in 1.. {
            let beats = match self.dial(number).await {
                Ok(connection) => {
                    tracing::info!("rate limits and wake-ups are shared through Redis");
                    said_away = false;
                    self.line.send_replace(Line::Up { number, connection: connection.clone() });
                    let (beats, why) = self.serve(number, connection).await;
                    self.give_up(number, &why);
                    beats
                }
                Err(trouble) => {
                    self.line.send_replace(Line::Away(trouble.to_string()));
                    0
                }
            };
            if let Line::Away(why) = &*self.line.borrow()
                && !std::mem::replace(&mut said_away, true)
            {
                tracing::warn!(why, "Redis is away; rate limits and wake-ups are this node's own meanwhile");
            }
            if beats >= SOUND_BEATS {
                pause = first;
            }
            sleep(pause).await;
            pause = (2 * pause).min(longest);
        }
    }

    /// A connection that listens to other nodes and answers what counted calls ask, in time.
    async fn dial(self: &Arc<Link>, number: u64) -> Result<MultiplexedConnection, Trouble> {
        // Not ourselves: the connection would keep alive who keeps it alive.
        let link = Arc::downgrade(self);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DIAL_MAX))
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| heard(&link, number, &push));
        let dialled = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = within(2 * DIAL_MAX, dialled).await?;
        within(DIAL_MAX, connection.subscribe(&self.channel)).await?;
        let often = Rate::new(super::RATE_MAX, super::RATE_MAX).expect("the largest rate is one");
        for _ in 0..PROBES {
            self.count(&mut connection, "probe", often).await?;
        }
        Ok(connection)
    }

    /// Announces what waits and tries the connection now and then, until it is given up. Answers how often it was found
    /// good, and why it is not any more.
    async fn serve(&self, number: u64, mut connection: MultiplexedConnection) -> (u32, String) {
        let mut line = self.line.subscribe();
        let mut beats = 0;
        let mut due = interval(BEAT);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wallets = Vec::new();
        loop {
            let asked = tokio::select! {
                why = left(&mut line, number) => return (beats, why),
                _ = due.tick() => {
                    beats += 1;
                    within(BEAT, ask::<()>(redis::cmd("PING"), &mut connection)).await
                }
                () = self.outbox.take(&mut wallets) => self.publish(&wallets, &mut connection).await,
            };
            if let Err(trouble) = asked {
                return (beats, trouble.to_string());
            }
        }
    }

    async fn publish(
        &self,
        wallets: &[WalletKey],
        connection: &mut MultiplexedConnection,
    ) -> Result<(), Trouble> {
        for some in wallets.chunks(MESSAGE_MAX) {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(&self.channel).arg(message(self.node, some));
            within(BEAT, ask::<()>(publish, connection)).await?;
        }
        Ok(())
    }
}

async fn ask<T: FromRedisValue>(command: Cmd, connection: &mut MultiplexedConnection) -> RedisResult<T> {
    command.query_async::<Value>(connection).await.and_then(|value| Ok(T::from_redis_value(value)?))
}

/// Redis' answer, if it comes in time.
async fn within<T>(most: Duration, answer: impl Future<Output = RedisResult<T>>) -> Result<T, Trouble> {
    match timeout(most, answer).await {
        Ok(answer) => answer.map_err(|error| Trouble::Error(error.to_string())),
        Err(_) => Err(Trouble::Late(most)),
    }
}

/// Waits until this connection is not the one in use, and answers why.
async fn left(line: &mut watch::Receiver<Line>, number: u64) -> String {
    let gone = |line: &Line| !matches!(line, Line::Up { number: known, .. } if *known == number);
    match line.wait_for(gone).await.as_deref() {
        Ok(Line::Away(why)) => why.clone(),
        Ok(Line::Up { .. } | Line::Untried) | Err(_) => "another connection is in use".to_string(),
    }
}

/// What came from Redis unasked: news of other nodes, or the end of the connection.
fn heard(link: &Weak<Link>, number: u64, push: &PushInfo) -> Result<(), std::convert::Infallible> {
    let Some(link) = link.upgrade() else { return Ok(()) };
    match (&push.kind, push.data.as_slice()) {
        (PushKind::Message, [_, Value::BulkString(message)]) => {
            link.hub.wake(others(link.node, message));
        }
        (PushKind::Disconnection, _) => link.give_up(number, "Redis closed the connection"),
        _ => {}
    }
    Ok(())
}

/// The sender and its wallets.
fn message(node: [u8; 8], wallets: &[WalletKey]) -> Vec<u8> {
    let mut message = Vec::with_capacity(node.len() + wallets.len() * WALLET_BYTES);
    message.extend_from_slice(&node);
    for wallet in wallets {
        message.extend_from_slice(&wallet.tenant.0.to_be_bytes());
        message.extend_from_slice(&wallet.id.0.to_bytes());
    }
    message
}

/// The wallets of a message, unless it is our own or none of ours.
fn others(node: [u8; 8], message: &[u8]) -> impl Iterator<Item = WalletKey> {
    let wallets = match message.split_first_chunk::<8>() {
        Some((sender, wallets)) if *sender != node => wallets,
        Some(_) | None => &[],
    };
    wallets.chunks_exact(WALLET_BYTES).filter_map(|wallet| {
        let (tenant, id) = wallet.split_first_chunk::<8>()?;
        let id = Id::from_bytes(id.try_into().ok()?);
        Some(WalletKey { tenant: TenantNo(u64::from_be_bytes(*tenant)), id: WalletId(id) })
    })
}

fn unusable(error: redis::RedisError) -> HintError {
    HintError(format!("no Redis can be reached by it, it is not like redis://host:6379/0 ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_who_sent_it_and_which_wallets() {
        let wallets: Vec<WalletKey> =
            (1..4).map(|no| WalletKey { tenant: TenantNo(no), id: WalletId(Id(u128::MAX / 7)) }).collect();
        let sent = message([1; 8], &wallets);
        assert_eq!(others([2; 8], &sent).collect::<Vec<_>>(), wallets);
        assert_eq!(others([1; 8], &sent).count(), 0, "its own");
    }

    #[test]
    fn what_is_no_message_wakes_nobody() {
        for bytes in [&b""[..], b"short", &[9; 8], &[9; 8 + WALLET_BYTES - 1]] {
            assert_eq!(others([2; 8], bytes).count(), 0);
        }
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_showing_its_password() {
        for url in ["", "localhost:6379", "http://:secret@host/", "redis://:secret@host:port/"] {
            let (url, deployment) = (url.to_string(), "test".to_string());
            let options = RedisOptions { url, deployment, node: 1, deadline: super::super::DEADLINE };
            let error = Link::new(options, Arc::default()).err().expect("refused").to_string();
            assert!(!error.is_empty() && !error.contains("secret"), "{error}");
        }
    }
}

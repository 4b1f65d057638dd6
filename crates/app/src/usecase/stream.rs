//! Streaming the balance of a wallet: the present one, then every change, for as long as the key is in force.
//!
//! A stream reads nothing: `watch.rs` does, once for all streams of a wallet. Nothing seen here authorises a movement.

use super::wallet::named_wallet;
use crate::App;
use crate::caller::Caller;
use crate::error::AppError;
use crate::view::LiveBalance;
use crate::watch::{Watched, is_news};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How long a stream is silent before it says that it is still there. Proxies close what is silent for a minute.
const QUIET: Duration = Duration::from_secs(15);

/// What a stream tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveEvent {
    /// The balance, at first and whenever it changed.
    Balance(LiveBalance),
    /// Nothing happened for a while.
    Quiet,
}

/// The live balance of a wallet.
pub struct BalanceStream {
    app: App,
    key_no: u64,
    watched: Watched,
    /// Not told yet.
    first: Option<LiveBalance>,
    /// What was told last.
    last: LiveBalance,
    quiet: Interval,
}

impl BalanceStream {
    /// The next thing to tell; none when the service stops or the key was revoked. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<LiveEvent> {
        if let Some(first) = self.first.take() {
            self.quiet.reset();
            return Some(LiveEvent::Balance(first));
        }
        loop {
            let found = tokio::select! {
                found = self.watched.next() => Some(found?),
                _ = self.quiet.tick() => None,
            };
            if !self.app.config().has_key(self.key_no) {
                return None;
            }
            match found {
                None => return Some(LiveEvent::Quiet),
                Some(found) if is_news(&found, &self.last) => {
                    self.last = found.clone();
                    self.quiet.reset();
                    return Some(LiveEvent::Balance(found));
                }
                // The watcher had not seen yet what we read when the stream began.
                Some(_) => {}
            }
        }
    }
}

/// Streams the balance of one wallet, from now on.
///
/// # Errors
/// Those of reading the wallet; `too_many_streams` when as many run as are configured, `shutting_down`.
pub async fn balance(app: &App, caller: &Caller, wallet_id: &str) -> Result<BalanceStream, AppError> {
    let (current, _) = named_wallet(app, caller, wallet_id).await?;
    let watched = app.watch(current.wallet.key)?;
    let first = app.live_balance(&current.wallet);
    let (app, key_no, last) = (app.clone(), caller.key_no, first.clone());
    let mut quiet = interval(QUIET);
    quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(BalanceStream { app, key_no, watched, first: Some(first), last, quiet })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{GrantAsk, Idempotency, Remarks, Whose};
    use crate::boot::Settings;
    use crate::caller::Scope;
    use crate::usecase::{api_key, grant};
    use purser_core::entry::GrantKind;
    use purser_core::id::{Prefix, render};
    use std::collections::HashSet;
    use tempfile::TempDir;
    use tokio::time::timeout;

    /// Longer than anything here takes on a busy machine.
    const LONG: Duration = Duration::from_secs(30);

    struct House {
        app: App,
        caller: Caller,
        _folder: TempDir,
    }

    impl House {
        async fn new() -> House {
            let folder = tempfile::tempdir().expect("a folder");
            let url = format!("sqlite:{}", folder.path().join("purser.db").display());
            let app = App::open(Settings::new(url)).await.expect("it opens");
            let key = api_key::create(&app, "tests", Scope::Write, None).await.expect("a key");
            let caller = app.authenticate(&key).await.expect("the key is in force");
            House { app, caller, _folder: folder }
        }

        /// Gives a user one credit; the wallet.
        async fn give(&self, user: &str) -> String {
            let ask = GrantAsk {
                whose: Whose { tenant: None, user: user.into() },
                unit: None,
                amount: "1".into(),
                kind: GrantKind::Promotional,
                priority: None,
                effective_at: None,
                expires_at: None,
                paid: None,
                remarks: Remarks { reason: Some("a test".into()), ..Remarks::default() },
            };
            let key = Idempotency { key: self.app.inner.ids.number().to_string(), request: [0; 32] };
            let receipt = grant::grant(&self.app, &self.caller, ask, key).await.expect("given").receipt;
            render(Prefix::Wallet, receipt.tenant, receipt.wallet.0)
        }

        async fn stream(&self, wallet: &str) -> BalanceStream {
            balance(&self.app, &self.caller, wallet).await.expect("a stream")
        }
    }

    /// The entry up to which the next balance counts.
    async fn seq(stream: &mut BalanceStream) -> u64 {
        match timeout(LONG, stream.next()).await.expect("in time").expect("not the end") {
            LiveEvent::Balance(live) => live.seq,
            LiveEvent::Quiet => panic!("it was not quiet"),
        }
    }

    #[tokio::test]
    async fn a_change_is_told_before_anybody_would_have_looked() {
        let house = House::new().await;
        let wallet = house.give("ann").await;
        let mut stream = house.stream(&wallet).await;
        assert_eq!(seq(&mut stream).await, 1);
        let mut fastest = LONG;
        for step in 2..7 {
            let started = house.app.monotonic();
            house.give("ann").await;
            assert_eq!(seq(&mut stream).await, step);
            let took = u64::try_from(house.app.monotonic() - started).expect("time passes");
            fastest = fastest.min(Duration::from_micros(took));
        }
        // Looking alone finds nothing for a second after the last look.
        assert!(fastest < Duration::from_millis(900), "{fastest:?}");
        house.app.shutdown().await;
        assert_eq!(stream.next().await, None);
        let refused = balance(&house.app, &house.caller, &wallet).await.err().expect("too late");
        assert!(matches!(refused, AppError::Unavailable { reason: "shutting_down", .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_wallet_has_one_watcher_however_many_streams_show_it_and_none_without() {
        let house = House::new().await;
        let (ann, bob) = (house.give("ann").await, house.give("bob").await);
        let mut streams = Vec::new();
        for wallet in [&ann, &ann, &bob, &ann] {
            streams.push(house.stream(wallet).await);
        }
        assert_eq!(house.app.inner.watchers.count(), 2);
        let mut told = HashSet::new();
        for stream in &mut streams {
            told.insert(seq(stream).await);
        }
        assert_eq!(told, HashSet::from([1]));
        house.give("ann").await;
        for anns in [0, 1, 3] {
            assert_eq!(seq(&mut streams[anns]).await, 2);
        }
        streams.clear();
        let gone = async {
            while house.app.inner.watchers.count() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, gone).await.expect("a watcher leaves when nobody listens");
        assert_eq!(seq(&mut house.stream(&ann).await).await, 2, "and another comes");
    }

    #[tokio::test]
    async fn a_quiet_stream_says_that_it_is_still_there_until_the_key_is_revoked() {
        let house = House::new().await;
        let wallet = house.give("ann").await;
        let mut stream = house.stream(&wallet).await;
        assert_eq!(seq(&mut stream).await, 1);
        stream.quiet = interval(Duration::from_millis(5));
        for _ in 0..3 {
            assert_eq!(timeout(LONG, stream.next()).await.expect("in time"), Some(LiveEvent::Quiet));
        }
        api_key::revoke(&house.app, &api_key::prefix(house.caller.key_no)).await.expect("revoked");
        assert_eq!(timeout(LONG, stream.next()).await.expect("in time"), None);
    }
}

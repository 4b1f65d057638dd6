//! The log that a proxy writes of requests behind the gate, and what of it a Purser server is told.
//!
//! One JSON object a line, as `deploy/nginx/purser.conf` has nginx write it. Most lines say that a request was paid and served:
//! nothing is told of those. To tell the same log again changes nothing.

pub use crate::elsewhere::ElsewhereError;
pub use purser_remote::http::RemoteError;
pub use purser_remote::purser::GateOutcome;

use purser_remote::http::Limits;
use purser_remote::purser::{Answered, GateOutcomeDone, PurserClient};
use serde::Deserialize;

/// A request, as far as it is used.
#[derive(Deserialize)]
struct Line {
    /// When it was answered: seconds since 1970, with three decimals.
    msec: String,
    request_id: String,
    method: String,
    host: String,
    uri: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    tenant: String,
    /// Text, as nginx writes all that it does not know to be a number.
    status: String,
    /// The status that the gate answered, empty where it was not asked.
    #[serde(default)]
    asked: String,
    #[serde(default)]
    debit: String,
    /// Why the gate let it pass unpaid.
    #[serde(default)]
    unpaid: String,
}

/// What there is to tell of a line: what failed though it was paid, and what was served though it was not.
///
/// # Errors
/// It is not a line of such a log.
pub fn outcome_of(line: &str) -> Result<Option<GateOutcome>, serde_json::Error> {
    let line: Line = serde_json::from_str(line)?;
    let status: u16 = line.status.parse().map_err(serde::de::Error::custom)?;
    let occurred_at = instant(&line.msec).ok_or_else(|| serde::de::Error::custom("msec is no time"))?;
    // A gate that cannot be asked answers anything but these, or nothing at all.
    let unasked = !["", "204", "401", "403"].contains(&line.asked.as_str());
    let told = if line.debit.is_empty() {
        status < 400 && (unasked || !line.unpaid.is_empty())
    } else {
        status >= 500
    };
    let outcome = GateOutcome {
        request_id: line.request_id,
        host: line.host,
        method: line.method,
        uri: line.uri,
        user: Some(line.user).filter(|user| !user.is_empty()),
        tenant: Some(line.tenant).filter(|tenant| !tenant.is_empty()),
        status,
        debit: Some(line.debit).filter(|debit| !debit.is_empty()),
        occurred_at,
    };
    Ok(told.then_some(outcome))
}

/// `1767225600.250` in RFC 3339.
fn instant(msec: &str) -> Option<String> {
    let (seconds, millis) = msec.split_once('.').filter(|(_, millis)| millis.len() == 3)?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let millis = if digits(seconds) && digits(millis) {
        format!("{seconds}{millis}").parse().ok()?
    } else {
        return None;
    };
    jiff::Timestamp::from_millisecond(millis).ok().map(|instant| instant.to_string())
}

/// What was done about what was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Done {
    /// Debits that were given back, or had been before.
    pub refunded: u64,
    /// Requests that were charged after all, or had been before.
    pub settled: u64,
    /// Requests that need nothing.
    pub nothing: u64,
}

/// The gate of a running server.
pub struct GateElsewhere {
    client: PurserClient,
}

impl GateElsewhere {
    /// The gate of the server at `url`, with the key of the proxy.
    ///
    /// # Errors
    /// When URL or key cannot be used; nothing is connected yet.
    pub fn new(url: &str, key: &str) -> Result<GateElsewhere, RemoteError> {
        let limits = Limits { connections: 1, ..Limits::default() };
        Ok(GateElsewhere { client: PurserClient::new(url, key, limits)? })
    }

    /// Tells one outcome and counts what was done about it.
    ///
    /// # Errors
    /// When the server refuses or does not answer. To tell it again is safe.
    pub async fn tell(&self, outcome: &GateOutcome, done: &mut Done) -> Result<(), ElsewhereError> {
        match self.client.tell_gate_outcome(outcome).await? {
            Answered::Refused(problem) => return Err(ElsewhereError::Refused(problem)),
            Answered::Done { value, .. } => match value.done {
                GateOutcomeDone::Nothing => done.nothing += 1,
                GateOutcomeDone::Refunded => done.refunded += 1,
                GateOutcomeDone::Settled => done.settled += 1,
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: &str, asked: &str, debit: &str, unpaid: &str) -> bool {
        let line = serde_json::json!({
            "msec": "1767225600.250", "request_id": "r", "method": "GET", "host": "h", "uri": "/",
            "status": status, "asked": asked, "debit": debit, "unpaid": unpaid, "something": "else",
        });
        outcome_of(&line.to_string()).expect("a line").is_some()
    }

    #[test]
    fn only_what_failed_though_paid_or_was_served_unpaid_is_told() {
        assert!(!told("200", "204", "deb_1", ""), "paid and served");
        assert!(!told("404", "204", "deb_1", ""), "paid, and answered");
        assert!(told("502", "204", "deb_1", ""), "paid and failed");
        assert!(!told("200", "204", "", ""), "free");
        assert!(!told("200", "", "", ""), "not asked about");
        assert!(!told("402", "403", "", ""), "refused");
        assert!(!told("503", "502", "", ""), "closed");
        assert!(told("200", "502", "", ""), "open");
        assert!(told("200", "204", "", "store_unavailable"), "open by its rule");
        assert!(!told("500", "502", "", ""), "open and failed");
    }

    #[test]
    fn a_time_of_nginx_is_one_of_ours() {
        assert_eq!(instant("1767225600.250").as_deref(), Some("2026-01-01T00:00:00.25Z"));
        for bad in ["", "1767225600", "1767225600.25", "x.250", "99999999999999999999.000", "-1.000"] {
            assert_eq!(instant(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_line_of_the_log_is_an_error() {
        for line in [
            "",
            "{}",
            "1.2.3.4 - - GET",
            r#"{"msec":"1.000","request_id":"","method":"","host":"","uri":"","status":"x"}"#,
        ] {
            assert!(outcome_of(line).is_err(), "{line}");
        }
    }
}

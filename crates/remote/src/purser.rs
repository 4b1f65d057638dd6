//! The calls to a Purser server that replaying needs, with their requests and the parts of answers that are used.
//!
//! A refusal (402, 409 …) is an answer, not an error: [`Answered::Refused`]. Requests render the same bytes for the same
//! values, because a key stands for the whole request. Amounts stay texts here; who adds them up parses them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::http::{Http, Limits, RemoteError, Response};

/// Measures by name, as decimal texts.
pub type Dimensions = BTreeMap<&'static str, String>;

/// Pages of a list that are read at the most.
const PAGES_MAX: usize = 100;

/// `POST /v1/holds`
#[derive(Clone, Debug, Serialize)]
pub struct HoldRequest<'a> {
    /// Who will consume.
    pub user: &'a str,
    /// What.
    pub action: &'a str,
    /// How much is expected.
    pub dimensions: Dimensions,
}

/// `POST /v1/holds/{id}/capture`
#[derive(Clone, Debug, Serialize)]
pub struct CaptureRequest {
    /// What it really was.
    pub dimensions: Dimensions,
    /// `settle` for work whose hold ran out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
}

/// `POST /v1/grants`
#[derive(Clone, Debug, Serialize)]
pub struct GrantRequest<'a> {
    /// To whom.
    pub user: &'a str,
    /// How many credits, as decimal text.
    pub amount: &'a str,
    /// `paid`, `promotional` or `adjustment`.
    pub kind: &'static str,
    /// Why.
    pub reason: &'a str,
}

/// `POST /v1/actions`
#[derive(Clone, Debug, Serialize)]
pub struct ActionRequest<'a> {
    /// Its key.
    pub key: &'a str,
    /// What people call it.
    pub name: &'a str,
    /// What one of it is.
    pub unit_label: &'static str,
    /// What captures may take beyond the hold.
    pub overage: &'static str,
    /// Its price.
    pub price: PriceRequest,
}

/// A price per dimension.
#[derive(Clone, Debug, Serialize)]
pub struct PriceRequest {
    /// `per_dimension`
    pub model: &'static str,
    /// The unit's code.
    pub unit: &'static str,
    /// Rates by dimension.
    pub rates: BTreeMap<&'static str, RateRequest>,
}

/// So much for every `per`.
#[derive(Clone, Debug, Serialize)]
pub struct RateRequest {
    /// Decimal text.
    pub rate: String,
    /// For how many.
    pub per: u32,
}

/// A hold, as far as it is used.
#[derive(Clone, Debug, Deserialize)]
pub struct Hold {
    /// `hol_…`
    pub id: String,
    /// What the capture charged, as decimal text.
    pub captured: String,
    /// The unit's code.
    pub unit: String,
}

/// A grant, as far as it is used.
#[derive(Clone, Debug, Deserialize)]
pub struct Grant {
    /// `wal_…`
    pub wallet_id: String,
}

/// An action, as far as it is used.
#[derive(Clone, Debug, Deserialize)]
pub struct Action {
    /// Its key.
    pub key: String,
    /// Whether it may be consumed.
    pub active: bool,
    /// Its prices.
    pub prices: Vec<Price>,
}

/// A price, as far as it is used.
#[derive(Clone, Debug, Deserialize)]
pub struct Price {
    /// Its arithmetic.
    pub model: String,
    /// Rates by dimension, where it has some.
    #[serde(default)]
    rates: Option<BTreeMap<String, serde_json::Value>>,
}

impl Price {
    /// Whether it has a rate for this dimension.
    pub fn has_rate(&self, dimension: &str) -> bool {
        self.rates.as_ref().is_some_and(|rates| rates.contains_key(dimension))
    }
}

/// `POST /v1/gate/outcomes`
#[derive(Clone, Debug, Serialize)]
pub struct GateOutcome {
    /// The proxy's name for the request.
    pub request_id: String,
    /// The host it was sent to.
    pub host: String,
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub uri: String,
    /// What was in the header that names the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What was in the header that names the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The status that the client got.
    pub status: u16,
    /// `deb_…`, where it was charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debit: Option<String>,
    /// RFC 3339.
    pub occurred_at: String,
}

/// What was done about an outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateOutcomeDone {
    /// There was nothing to do.
    Nothing,
    /// A debit was given back.
    Refunded,
    /// A request was charged.
    Settled,
}

/// The answer to an outcome, as far as it is used.
#[derive(Clone, Debug, Deserialize)]
pub struct GateAnswer {
    /// What was done.
    pub done: GateOutcomeDone,
}

/// What a problem document says.
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    /// The status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub detail: String,
    /// The fields that are not acceptable.
    #[serde(default)]
    pub errors: Vec<FieldProblem>,
}

/// A field that is not acceptable.
#[derive(Clone, Debug, Deserialize)]
pub struct FieldProblem {
    /// JSON pointer into the request.
    pub pointer: String,
    /// The stable code.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub detail: String,
}

/// What the server answered.
#[derive(Clone, Debug)]
pub enum Answered<T> {
    /// It did it, or had done it before under the same key.
    Done {
        /// What it made.
        value: T,
        /// Whether that was before.
        replayed: bool,
    },
    /// It refuses.
    Refused(Problem),
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next_cursor: Option<String>,
}

/// A Purser server. Cheap to share behind an `Arc`.
pub struct PurserClient {
    http: Http,
}

impl PurserClient {
    /// Calls to the server at `url` with this API key.
    ///
    /// # Errors
    /// When URL or key cannot be used; nothing is connected yet.
    pub fn new(url: &str, key: &str, limits: Limits) -> Result<PurserClient, RemoteError> {
        Ok(PurserClient { http: Http::new(url, key, limits)? })
    }

    /// Reserves credits.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn place_hold(&self, hold: &HoldRequest<'_>, key: &str) -> Result<Answered<Hold>, RemoteError> {
        answered(&self.http.post("/v1/holds", json(hold), Some(key)).await?)
    }

    /// Charges what the work of a hold really was.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn capture_hold(
        &self,
        hold: &str,
        capture: &CaptureRequest,
        key: &str,
    ) -> Result<Answered<Hold>, RemoteError> {
        answered(&self.http.post(&format!("/v1/holds/{hold}/capture"), json(capture), Some(key)).await?)
    }

    /// Gives a hold up.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn release_hold(&self, hold: &str, key: &str) -> Result<Answered<Hold>, RemoteError> {
        answered(&self.http.post(&format!("/v1/holds/{hold}/release"), Vec::new(), Some(key)).await?)
    }

    /// Gives credits.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn grant(&self, grant: &GrantRequest<'_>, key: &str) -> Result<Answered<Grant>, RemoteError> {
        answered(&self.http.post("/v1/grants", json(grant), Some(key)).await?)
    }

    /// Publishes an action. Sent again after a lost answer it changes nothing; with other content it is refused.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn create_action(&self, action: &ActionRequest<'_>) -> Result<Answered<Action>, RemoteError> {
        answered(&self.http.post("/v1/actions", json(action), None).await?)
    }

    /// Tells what became of a request that passed the gate.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn tell_gate_outcome(
        &self,
        outcome: &GateOutcome,
    ) -> Result<Answered<GateAnswer>, RemoteError> {
        answered(&self.http.post("/v1/gate/outcomes", json(outcome), None).await?)
    }

    /// The whole catalogue, as [`PurserClient::apply_catalogue`] takes it.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn catalogue(&self) -> Result<Answered<serde_json::Value>, RemoteError> {
        answered(&self.http.get("/v1/catalogue").await?)
    }

    /// Brings the catalogue to what it is said to be, or only says what differs.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn apply_catalogue(
        &self,
        catalogue: &serde_json::Value,
        dry_run: bool,
        days: Option<u32>,
    ) -> Result<Answered<serde_json::Value>, RemoteError> {
        let path = match (dry_run, days) {
            (false, _) => "/v1/catalogue".to_string(),
            (true, None) => "/v1/catalogue?dry_run=true".to_string(),
            (true, Some(days)) => format!("/v1/catalogue?dry_run=true&days={days}"),
        };
        answered(&self.http.put(&path, json(catalogue)).await?)
    }

    /// All actions, by key.
    ///
    /// # Errors
    /// When there is no answer; a refusal is one.
    pub async fn actions(&self) -> Result<Answered<Vec<Action>>, RemoteError> {
        let mut all = Vec::new();
        let mut path = "/v1/actions?limit=500".to_string();
        for _ in 0..PAGES_MAX {
            match answered::<Page<Action>>(&self.http.get(&path).await?)? {
                Answered::Refused(problem) => return Ok(Answered::Refused(problem)),
                Answered::Done { value: page, .. } => {
                    all.extend(page.data);
                    // Cursors of this list are keys of actions, which need no escaping in a query but for these.
                    let Some(cursor) = page.next_cursor else { break };
                    let cursor = cursor.replace('&', "%26").replace('+', "%2B");
                    path = format!("/v1/actions?limit=500&cursor={cursor}");
                }
            }
        }
        Ok(Answered::Done { value: all, replayed: false })
    }
}

fn json(request: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(request).expect("texts and maps of texts are JSON")
}

fn answered<T: DeserializeOwned>(response: &Response) -> Result<Answered<T>, RemoteError> {
    let unexpected = |error: serde_json::Error| {
        let start = String::from_utf8_lossy(&response.body).chars().take(200).collect::<String>();
        RemoteError::Unexpected(format!("status {}: {error}: {start}", response.status))
    };
    if (200..300).contains(&response.status) {
        let value = serde_json::from_slice(&response.body).map_err(unexpected)?;
        return Ok(Answered::Done { value, replayed: response.replayed });
    }
    serde_json::from_slice(&response.body).map(Answered::Refused).map_err(unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_is_the_same_bytes() {
        let dimensions =
            || Dimensions::from([("output_tokens", "7".to_string()), ("input_tokens", "9".to_string())]);
        let request = || HoldRequest { user: "u", action: "m", dimensions: dimensions() };
        let text = String::from_utf8(json(&request())).unwrap();
        assert_eq!(
            text,
            r#"{"user":"u","action":"m","dimensions":{"input_tokens":"9","output_tokens":"7"}}"#
        );
        let capture = CaptureRequest { dimensions: Dimensions::new(), mode: None };
        assert_eq!(json(&capture), br#"{"dimensions":{}}"#);
    }
}

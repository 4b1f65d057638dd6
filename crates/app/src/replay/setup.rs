//! What a server needs before a trace can be replayed against it: actions with prices, users with credits.
//!
//! All of it goes through the HTTP API, as an integration's own set-up would.

use super::{ReplayError, Target};
use purser_core::amount::{Decimal, parse_decimal, render_decimal};
use purser_remote::purser::{ActionRequest, Answered, GrantRequest, PriceRequest, Problem, RateRequest};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The dimensions of a row: input and output.
pub const TOKEN_DIMENSIONS: [&str; 2] = ["input_tokens", "output_tokens"];

/// Providers name prices for so many tokens.
const PER: u32 = 1_000_000;

/// A model and what a million of its tokens cost in credits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelPrice {
    /// The action's key.
    pub model: String,
    /// Credits for a million input tokens, as decimal text.
    pub input: String,
    /// Credits for a million output tokens, as decimal text.
    pub output: String,
}

impl ModelPrice {
    /// From what a provider asks in money, at so many credits for each unit of money. None for what is no price.
    pub fn from_money(model: &str, input: &str, output: &str, credits: i64) -> Option<ModelPrice> {
        let price = |money: &str| {
            let parts = parse_decimal(money, Decimal::DECIMALS).ok().filter(|parts| *parts >= 0)?;
            Some(render_decimal(parts.checked_mul(credits)?, Decimal::DECIMALS))
        };
        Some(ModelPrice { model: model.into(), input: price(input)?, output: price(output)? })
    }
}

impl Target {
    /// Publishes an action per model; one that is there already stays as it is. What a capture costs beyond its hold becomes
    /// debt: the work was done.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn publish(&self, models: &[ModelPrice]) -> Result<(), ReplayError> {
        for ModelPrice { model, input, output } in models {
            let rate = |rate: &String| RateRequest { rate: rate.clone(), per: PER };
            let [of_input, of_output] = TOKEN_DIMENSIONS;
            let rates = BTreeMap::from([(of_input, rate(input)), (of_output, rate(output))]);
            let price = PriceRequest { model: "per_dimension", unit: "credit", rates };
            let action =
                ActionRequest { key: model, name: model, unit_label: "token", overage: "debt", price };
            match self.client.create_action(&action).await? {
                Answered::Done { .. } => {}
                Answered::Refused(problem) if problem.code == "action_exists" => {}
                Answered::Refused(problem) => return Err(refused(format!("publishing {model}"), problem)),
            }
        }
        Ok(())
    }

    /// Gives each user credits and answers the wallet of the first; `key` names the set of grants.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn grant(&self, grants: &[(String, String)], key: &str) -> Result<String, ReplayError> {
        let places = Arc::new(Semaphore::new(self.connections));
        let mut given = tokio::task::JoinSet::new();
        for (user, amount) in grants {
            let (user, amount) = (user.clone(), amount.clone());
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            let (client, key) = (self.client.clone(), format!("{key}-grant-{user}"));
            given.spawn(async move {
                let _place = place;
                let (user, amount) = (user.as_str(), amount.as_str());
                let request = GrantRequest { user, amount, kind: "promotional", reason: "replay of a trace" };
                match client.grant(&request, &key).await? {
                    Answered::Done { value, .. } => Ok((user.to_string(), value.wallet_id)),
                    Answered::Refused(problem) => Err(refused(format!("a grant for {user}"), problem)),
                }
            });
        }
        let mut wallet = String::new();
        while let Some(done) = given.join_next().await {
            let (user, wallet_id) = done.expect("a grant answers what is wrong and does not panic")?;
            if grants.first().is_some_and(|(first, _)| *first == user) {
                wallet = wallet_id;
            }
        }
        Ok(wallet)
    }

    /// The active actions that are priced by both dimensions of a row.
    ///
    /// # Errors
    /// When the server refuses or does not answer.
    pub async fn models(&self) -> Result<Vec<String>, ReplayError> {
        let actions = match self.client.actions().await? {
            Answered::Done { value, .. } => value,
            Answered::Refused(problem) => return Err(refused("listing actions".into(), problem)),
        };
        let priced = actions.into_iter().filter(|action| {
            let both = |price: &purser_remote::purser::Price| {
                TOKEN_DIMENSIONS.iter().all(|dimension| price.has_rate(dimension))
            };
            action.active && action.prices.iter().any(both)
        });
        Ok(priced.map(|action| action.key).collect())
    }
}

fn refused(what: String, problem: Problem) -> ReplayError {
    ReplayError::Refused { what, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_becomes_credits_exactly() {
        let price = ModelPrice::from_money("m", "0.15", "0.600000000001", 1_250).unwrap();
        assert_eq!((price.input.as_str(), price.output.as_str()), ("187.5", "750.00000000125"));
        assert_eq!(ModelPrice::from_money("m", "1e-6", "1", 1), None);
        assert_eq!(ModelPrice::from_money("m", "-1", "1", 1), None);
    }
}

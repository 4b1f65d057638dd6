//! Quotes: signed promises of what an action costs, and the link that carries one to a page where credits can be bought.
//!
//! A quote binds who, what, how much of it, the unit, the wallet where one was named, the price version and the amount. It
//! names users by a digest of their keys, as a preflight makes nobody: the first debit of a user that was never seen can
//! bring one. Whether it is honoured is the rule book's to say (`purser_core::command::Quote`); that it is used once is a
//! unique row in the transaction of its debit or hold.

use crate::App;
use crate::error::AppError;
use crate::names::Named;
use crate::parse::field;
use crate::signed::{Content, Parts};
use crate::view::{Offer, QuoteView, ToConfirm};
use purser_core::catalogue::{Action, Unit};
use purser_core::command::{Promise, Quote};
use purser_core::entry::{Charge, Usage};
use purser_core::time::{DAY, SECOND};
use purser_core::{Amount, Id, Key, PriceId, Quantity, Rejection, TenantNo, Timestamp, WalletId};

/// How long a quote binds, in microseconds.
const LIFE: i64 = 300 * SECOND;
/// How long one binds that goes with a link for buying credits.
const LIFE_WITH_LINK: i64 = DAY;
/// The first byte of what a quote or link carries.
const VERSION: u8 = 1;
/// The longest address that a link leads back to, in bytes.
const RETURN_MAX: usize = 2_048;

/// What a quote is about: a request, as far as its cost and who pays it depend on it.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) named: &'a Named,
    pub(crate) action: &'a Action,
    pub(crate) usage: &'a Usage,
    pub(crate) wallet: Option<(TenantNo, WalletId)>,
    /// What it brought itself.
    pub(crate) promise: Option<&'a Promise>,
    pub(crate) return_url: Option<&'a str>,
}

impl Subject<'_> {
    fn digest(&self) -> [u8; 32] {
        let content = Content::default()
            .option(self.named.tenant.as_ref().map(|key| key.as_str().as_bytes()))
            .part(self.named.user.as_str().as_bytes())
            .fixed(&self.action.no.to_be_bytes());
        let content = match self.usage {
            Usage::Quantity(quantity) => content.fixed(&[1]).fixed(&quantity.0.to_be_bytes()),
            Usage::Amount(amount) => content.fixed(&[2]).fixed(&amount.0.to_be_bytes()),
            Usage::Dimensions(measures) => {
                measures.iter().fold(content.fixed(&[3]), |content, (name, much)| {
                    content.part(name.as_bytes()).fixed(&much.0.to_be_bytes())
                })
            }
        };
        // Behind the measures, which end with the content: a tag of its own tells where.
        let content = match self.wallet {
            None => content.fixed(&[0xfe]),
            Some((tenant, wallet)) => {
                content.fixed(&[0xff]).fixed(&tenant.0.to_be_bytes()).fixed(&wallet.0.to_bytes())
            }
        };
        *blake3::hash(content.bytes()).as_bytes()
    }
}

/// What a quote that is to be signed says beside what it is about.
struct Terms {
    id: Id,
    price: PriceId,
    unit: Key,
    amount: Amount,
    expires_at: Timestamp,
    used_before: Option<Quantity>,
}

impl App {
    /// A promise of what this request would be charged now; none where no price says so.
    pub(crate) fn promise(&self, subject: &Subject<'_>, charge: &Charge, unit: &Unit) -> Option<QuoteView> {
        Some(self.short(subject, (charge.price?, charge.used_before), &unit.code, charge.cost))
    }

    /// The quote with which a request goes on that was refused for lack of a confirmation; none where the refusal is another one.
    pub(crate) fn confirming(&self, subject: &Subject<'_>, rejection: &Rejection) -> Option<QuoteView> {
        let Rejection::ConfirmationRequired { required, unit, price, used_before, .. } = rejection else {
            return None;
        };
        price.map(|price| self.short(subject, (price, *used_before), unit, *required))
    }

    /// A promise for as long as somebody looks at it.
    fn short(
        &self,
        subject: &Subject<'_>,
        (price, used_before): (PriceId, Option<Quantity>),
        unit: &Key,
        amount: Amount,
    ) -> QuoteView {
        let (id, expires_at) = (self.inner.ids.id(), self.now().plus(LIFE));
        self.sign(subject, &Terms { id, price, unit: unit.clone(), amount, expires_at, used_before })
    }

    /// What was refused for lack of credits, to be kept until there are some. A promise that came with the request is
    /// made longer and stays the same promise: it is used once, however often it is refused, and a day after it was first
    /// given it ends.
    fn keep(
        &self,
        subject: &Subject<'_>,
        (price, used_before): (PriceId, Option<Quantity>),
        unit: &Key,
        amount: Amount,
    ) -> QuoteView {
        let until = self.now().plus(LIFE_WITH_LINK);
        let (id, expires_at) = match subject.promise {
            None => (self.inner.ids.id(), until),
            Some(promise) => {
                let given = i64::try_from(promise.id.millis())
                    .map_or(Timestamp::NEVER, |millis| Timestamp(millis * 1_000));
                (promise.id, until.min(given.plus(LIFE_WITH_LINK)).max(promise.expires_at))
            }
        };
        self.sign(subject, &Terms { id, price, unit: unit.clone(), amount, expires_at, used_before })
    }

    fn sign(&self, subject: &Subject<'_>, terms: &Terms) -> QuoteView {
        let content = Content::default()
            .fixed(&[VERSION])
            .fixed(&terms.id.to_bytes())
            .fixed(&subject.digest())
            .fixed(&terms.price.to_bytes())
            .fixed(&terms.amount.0.to_be_bytes())
            .fixed(&terms.expires_at.0.to_be_bytes())
            .part(terms.unit.as_str().as_bytes());
        let content = match terms.used_before {
            Some(used) => content.fixed(&used.0.to_be_bytes()),
            None => content,
        };
        let token = self.inner.secrets.seal("quote", content.bytes());
        QuoteView { token, expires_at: terms.expires_at }
    }

    /// The amount that a quote of ours promises, for whatever request it was given.
    pub(crate) fn promised_amount(&self, token: &str) -> Option<Amount> {
        let content = self.inner.secrets.open("quote", token)?;
        read(&content).map(|(_, promise)| promise.amount)
    }

    /// What the quote that came with a request is worth. Whether it is honoured is the rule book's to say.
    pub(crate) fn quoted(&self, subject: &Subject<'_>, token: &str) -> Quote {
        let Some(content) = self.inner.secrets.open("quote", token) else { return Quote::Invalid };
        match read(&content) {
            None => Quote::Invalid,
            Some((digest, _)) if digest != subject.digest() => Quote::Mismatch,
            Some((_, promise)) => Quote::Promise(promise),
        }
    }

    /// What a request that was refused for lack of credits can do: buy some, and come back with a quote that is kept for as
    /// long as the link. None where the refusal is another one.
    pub(crate) fn offer(&self, subject: &Subject<'_>, rejection: &Rejection) -> Option<Offer> {
        let Rejection::InsufficientCredits { required, unit, price, used_before, .. } = rejection else {
            return None;
        };
        let quote = price.map(|price| self.keep(subject, (price, *used_before), unit, *required));
        let Named { tenant, user } = subject.named;
        let refused = Refused { tenant: tenant.as_ref(), user, action: &subject.action.key };
        let topup_url = self.topup_url(&refused, rejection, subject.return_url)?;
        Some(Offer { quote, topup_url })
    }

    /// The link for a request that was refused for lack of credits; none where the refusal is another one.
    pub(crate) fn topup_url(
        &self,
        refused: &Refused<'_>,
        rejection: &Rejection,
        return_url: Option<&str>,
    ) -> Option<String> {
        let Rejection::InsufficientCredits { required, available, unit, .. } = rejection else { return None };
        let counted = self.catalogue().unit(unit).cloned()?;
        let content = Content::default()
            .fixed(&[VERSION])
            .fixed(&self.inner.ids.id().to_bytes())
            .fixed(&self.now().plus(LIFE_WITH_LINK).0.to_be_bytes())
            .option(refused.tenant.map(|key| key.as_str().as_bytes()))
            .part(refused.user.as_str().as_bytes())
            .part(refused.action.as_str().as_bytes())
            .part(unit.as_str().as_bytes())
            .part(counted.render(*required).as_bytes())
            .part(counted.render(*available).as_bytes())
            .part(counted.render(*required - *available).as_bytes())
            .option(return_url.map(str::as_bytes));
        let token = self.inner.secrets.seal("topup", content.bytes());
        Some(format!("{}/topup/{token}", self.inner.settings.public_url))
    }

    /// How a request goes on that was refused because somebody is to be asked first: with this quote, which ends when the
    /// link does. None where the refusal is another one.
    fn to_confirm(&self, subject: &Subject<'_>, rejection: &Rejection) -> Option<ToConfirm> {
        let Rejection::ConfirmationRequired { required, unit, .. } = rejection else { return None };
        let counted = self.catalogue().unit(unit).cloned()?;
        let quote = self.confirming(subject, rejection);
        let expires_at = quote.as_ref().map_or_else(|| self.now().plus(LIFE), |quote| quote.expires_at);
        let Named { tenant, user } = subject.named;
        let content = Content::default()
            .fixed(&[VERSION])
            .fixed(&self.inner.ids.id().to_bytes())
            .fixed(&expires_at.0.to_be_bytes())
            .option(tenant.as_ref().map(|key| key.as_str().as_bytes()))
            .part(user.as_str().as_bytes())
            .part(subject.action.key.as_str().as_bytes())
            .part(unit.as_str().as_bytes())
            .part(counted.render(*required).as_bytes())
            .option(subject.return_url.map(str::as_bytes));
        let token = self.inner.secrets.seal("confirm", content.bytes());
        Some(ToConfirm { quote, confirm_url: format!("{}/confirm/{token}", self.inner.settings.public_url) })
    }

    /// What a link for a confirmation says; none when it is not one of ours.
    pub fn confirm_link(&self, token: &str) -> Option<ConfirmLink> {
        let content = self.inner.secrets.open("confirm", token)?;
        let mut parts = Parts(&content);
        let [VERSION] = parts.fixed()? else { return None };
        Some(ConfirmLink {
            id: Id::from_bytes(parts.fixed()?),
            expires_at: Timestamp(i64::from_be_bytes(parts.fixed()?)),
            tenant: parts.text_option()?,
            user: parts.text()?,
            action: parts.text()?,
            unit: parts.text()?,
            cost: parts.text()?,
            return_url: parts.text_option()?,
        })
    }

    /// The same refusal with what can be done about it.
    pub(crate) fn with_offer(&self, subject: &Subject<'_>, error: AppError) -> AppError {
        match error {
            AppError::Rejected(rejection) => match self.offer(subject, &rejection) {
                Some(offer) => AppError::OutOfCredit { rejection, offer: Box::new(offer) },
                None => match self.to_confirm(subject, &rejection) {
                    Some(ask) => AppError::Unconfirmed { rejection, ask: Box::new(ask) },
                    None => AppError::Rejected(rejection),
                },
            },
            error => error,
        }
    }

    /// What a link for buying credits says; none when it is not one of ours.
    pub fn topup_link(&self, token: &str) -> Option<TopupLink> {
        let content = self.inner.secrets.open("topup", token)?;
        let mut parts = Parts(&content);
        let [VERSION] = parts.fixed()? else { return None };
        Some(TopupLink {
            id: Id::from_bytes(parts.fixed()?),
            expires_at: Timestamp(i64::from_be_bytes(parts.fixed()?)),
            tenant: parts.text_option()?,
            user: parts.text()?,
            action: parts.text()?,
            unit: parts.text()?,
            required: parts.text()?,
            available: parts.text()?,
            shortfall: parts.text()?,
            return_url: parts.text_option()?,
        })
    }

    /// Refuses an address to come back to that is none, or of a site that is not in the settings: else anybody with a key
    /// could make this service send people anywhere.
    /// What was answered before is answered again without asking this: settings change.
    pub(crate) fn return_allowed(&self, url: Option<&str>) -> Result<(), AppError> {
        let Some(origin) = url.and_then(origin) else { return Ok(()) };
        match self.inner.settings.return_origins.contains(&origin) {
            true => Ok(()),
            false => {
                let why = "the setting return_origins does not have this site";
                Err(field("/return_url", "origin_not_allowed", why))
            }
        }
    }
}

/// Refuses what is no address to come back to, whatever the settings say.
pub(crate) fn check_return(url: Option<&str>) -> Result<(), AppError> {
    let Some(url) = url else { return Ok(()) };
    let refused = |code, why: &str| Err(field("/return_url", code, why));
    if url.len() > RETURN_MAX {
        return refused("too_long", "at most 2048 bytes");
    }
    match origin(url) {
        Some(_) => Ok(()),
        None => refused("malformed", "an absolute http or https address is expected"),
    }
}

/// Who was refused which action.
pub(crate) struct Refused<'a> {
    /// None for a personal tenant.
    pub(crate) tenant: Option<&'a Key>,
    pub(crate) user: &'a Key,
    pub(crate) action: &'a Key,
}

/// What a link for buying credits says: who was refused what, and where to go back to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopupLink {
    /// Names the link, so that what is bought through it can be matched with the refusal.
    pub id: Id,
    /// From this instant it is of no use.
    pub expires_at: Timestamp,
    /// The tenant's key; none for a personal tenant.
    pub tenant: Option<String>,
    /// The user's key.
    pub user: String,
    /// The action's key.
    pub action: String,
    /// The unit's code.
    pub unit: String,
    /// What the action costs.
    pub required: String,
    /// What there was when it was refused; negative with debt.
    pub available: String,
    /// What was missing, debt included.
    pub shortfall: String,
    /// Where to go back to, on one of the sites in the settings.
    pub return_url: Option<String>,
}

/// What a link for a confirmation says: who is about to spend how much on what, and where to go back to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfirmLink {
    /// Names the link.
    pub id: Id,
    /// From this instant it is of no use, as its quote.
    pub expires_at: Timestamp,
    /// The tenant's key; none for a personal tenant.
    pub tenant: Option<String>,
    /// The user's key.
    pub user: String,
    /// The action's key.
    pub action: String,
    /// The unit's code.
    pub unit: String,
    /// What the action costs.
    pub cost: String,
    /// Where to go back to, on one of the sites in the settings.
    pub return_url: Option<String>,
}

/// For what request a quote was given, and what it promises.
fn read(content: &[u8]) -> Option<([u8; 32], Promise)> {
    let mut parts = Parts(content);
    let [VERSION] = parts.fixed()? else { return None };
    let (id, digest) = (Id::from_bytes(parts.fixed()?), parts.fixed()?);
    let price = Id::from_bytes(parts.fixed()?);
    let amount = Amount(i64::from_be_bytes(parts.fixed()?));
    let expires_at = Timestamp(i64::from_be_bytes(parts.fixed()?));
    let unit = Key::parse(&parts.text()?)?;
    // Behind everything else, where the price is metered.
    let used_before = match parts.0 {
        [] => None,
        _ => Some(Quantity(i64::from_be_bytes(parts.fixed()?))),
    };
    Some((digest, Promise { id, price, unit, amount, used_before, expires_at, used: false }))
}

/// Scheme, host and port of an absolute http(s) address, in lower case; none for anything else.
pub fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let site = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    // What a browser would read otherwise than we do is no address: spaces, backslashes, names before an @.
    let sound = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>".contains(&byte));
    let known = scheme == "http" || scheme == "https";
    // The port that a browser leaves out is left out here too.
    let usual = if scheme == "http" { ":80" } else { ":443" };
    let named = site.strip_suffix(usual).unwrap_or(site);
    (known && sound && !named.is_empty() && site.bytes().all(plain))
        .then(|| format!("{scheme}://{}", named.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_addresses_of_the_web_have_an_origin() {
        let some = |url: &str| origin(url).unwrap_or_default();
        assert_eq!(some("https://App.Example.com/done?x=1#y"), "https://app.example.com");
        assert_eq!(some("HTTP://localhost:3000"), "http://localhost:3000");
        assert_eq!(some("https://app.example.com:443/x"), "https://app.example.com");
        assert_eq!(some("http://app.example.com:80"), "http://app.example.com");
        assert_eq!(some("http://app.example.com:443"), "http://app.example.com:443");
        for url in [
            "javascript:alert(1)",
            "//app.example.com",
            "/done",
            "https://",
            "https://app.example.com@evil.example",
            "https://app.example.com\\@evil.example",
            "https://app.example.com/ x",
            "ftp://app.example.com",
            "https://app.example.com/\"><script>",
        ] {
            assert_eq!(origin(url), None, "{url}");
        }
    }
}

//! Quotes: signed promises of what an action costs. The links that go with them are in `link.rs`.
//!
//! A quote binds who, what, how much of it, the unit, the wallet where one was named, the price version and the amount. It
//! names users by a digest of their keys, as a preflight makes nobody: the first debit of a user that was never seen can
//! bring one. Whether it is honoured is the rule book's to say (`purser_core::command::Quote`); that it is used once is a
//! unique row in the transaction of its debit or hold.

use crate::App;
use crate::error::AppError;
use crate::link::Refused;
use crate::names::Named;
use crate::signed::{Content, Parts};
use crate::view::{Offer, QuoteView, ToConfirm};
use purser_core::catalogue::{Action, Unit};
use purser_core::command::{Promise, Quote};
use purser_core::entry::{Charge, Usage};
use purser_core::pricing::{Discount, Footing, Priced};
use purser_core::time::{DAY, SECOND};
use purser_core::{Amount, Id, Key, Quantity, Rejection, TenantNo, Timestamp, WalletId};

/// How long a quote binds, in microseconds.
const LIFE: i64 = 300 * SECOND;
/// How long one binds that goes with a link for buying credits.
pub(crate) const LIFE_WITH_LINK: i64 = DAY;
/// The first byte of what a quote carries.
const VERSION: u8 = 1;

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
    fn refused(&self) -> Refused<'_> {
        let Named { tenant, user } = self.named;
        let (action, return_url) = (&self.action.key, self.return_url);
        Refused { tenant: tenant.as_ref(), user, action, return_url }
    }

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
    priced: Priced,
    unit: Key,
    amount: Amount,
    expires_at: Timestamp,
}

impl App {
    /// A promise of what this request would be charged now; none where no price says so.
    pub(crate) fn promise(&self, subject: &Subject<'_>, charge: &Charge, unit: &Unit) -> Option<QuoteView> {
        Some(self.short(subject, charge.priced()?, &unit.code, charge.cost))
    }

    /// The quote with which a request goes on that was refused for lack of a confirmation; none where the refusal is another one.
    pub(crate) fn confirming(&self, subject: &Subject<'_>, rejection: &Rejection) -> Option<QuoteView> {
        let Rejection::ConfirmationRequired { required, unit, priced, .. } = rejection else {
            return None;
        };
        priced.as_deref().map(|priced| self.short(subject, *priced, unit, *required))
    }

    /// A promise for as long as somebody looks at it.
    fn short(&self, subject: &Subject<'_>, priced: Priced, unit: &Key, amount: Amount) -> QuoteView {
        let (id, expires_at) = (self.inner.ids.id(), self.now().plus(LIFE));
        self.sign(subject, &Terms { id, priced, unit: unit.clone(), amount, expires_at })
    }

    /// What was refused for lack of credits, to be kept until there are some. A promise that came with the request is
    /// made longer and stays the same promise: it is used once, however often it is refused, and a day after it was first
    /// given it ends.
    fn keep(&self, subject: &Subject<'_>, priced: Priced, unit: &Key, amount: Amount) -> QuoteView {
        let until = self.now().plus(LIFE_WITH_LINK);
        let (id, expires_at) = match subject.promise {
            None => (self.inner.ids.id(), until),
            Some(promise) => {
                let given = i64::try_from(promise.id.millis())
                    .map_or(Timestamp::NEVER, |millis| Timestamp(millis * 1_000));
                (promise.id, until.min(given.plus(LIFE_WITH_LINK)).max(promise.expires_at))
            }
        };
        self.sign(subject, &Terms { id, priced, unit: unit.clone(), amount, expires_at })
    }

    fn sign(&self, subject: &Subject<'_>, terms: &Terms) -> QuoteView {
        let content = Content::default()
            .fixed(&[VERSION])
            .fixed(&terms.id.to_bytes())
            .fixed(&subject.digest())
            .fixed(&terms.priced.price.to_bytes())
            .fixed(&terms.amount.0.to_be_bytes())
            .fixed(&terms.expires_at.0.to_be_bytes())
            .part(terms.unit.as_str().as_bytes())
            .fixed(&terms.priced.footing.discount.basis_points().to_be_bytes());
        let content = match terms.priced.footing.used_before {
            Some(used) => content.fixed(&used.0.to_be_bytes()),
            None => content,
        };
        let token = self.inner.secrets.seal("quote", content.bytes());
        QuoteView { id: terms.id, token, expires_at: terms.expires_at }
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
        let Rejection::InsufficientCredits { required, unit, priced, .. } = rejection else {
            return None;
        };
        let quote = priced.as_deref().map(|priced| self.keep(subject, *priced, unit, *required));
        let topup_url = self.topup_url(&subject.refused(), rejection, self.now().plus(LIFE_WITH_LINK))?;
        Some(Offer { quote, topup_url })
    }

    /// How a request goes on that was refused because somebody is to be asked first: with this quote, which ends when the
    /// link does. None where the refusal is another one.
    fn to_confirm(&self, subject: &Subject<'_>, rejection: &Rejection) -> Option<ToConfirm> {
        let Rejection::ConfirmationRequired { required, unit, .. } = rejection else { return None };
        let quote = self.confirming(subject, rejection);
        let expires_at = quote.as_ref().map_or_else(|| self.now().plus(LIFE), |quote| quote.expires_at);
        let confirm_url = self.confirm_url(&subject.refused(), unit, *required, expires_at)?;
        Some(ToConfirm { quote, confirm_url })
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
    let discount = Discount::new(u16::from_be_bytes(parts.fixed()?))?;
    // Behind everything else, where the price is metered.
    let used_before = match parts.0 {
        [] => None,
        _ => Some(Quantity(i64::from_be_bytes(parts.fixed()?))),
    };
    let footing = Footing { used_before, discount };
    Some((digest, Promise { id, price, unit, amount, footing, expires_at, used: false }))
}

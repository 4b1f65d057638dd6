//! Signed links to pages for people: where credits can be bought, and where somebody says that a cost is meant.
//!
//! A link carries what its page shows, and does nothing. Where it leads back to is on a site of the settings: else anybody with
//! a key could make this service send people anywhere.

use crate::App;
use crate::error::AppError;
use crate::parse::field;
use crate::signed::{Content, Parts};
use purser_core::{Amount, Id, Key, Rejection, Timestamp};

/// The first byte of what a link carries.
const VERSION: u8 = 1;
/// The longest address that a link leads back to, in bytes.
const RETURN_MAX: usize = 2_048;
/// What a link is for: the beginning of its path, and the purpose of its key.
const TOPUP: &str = "topup";
const CONFIRM: &str = "confirm";

/// Who was refused which action, and where to go back to.
pub(crate) struct Refused<'a> {
    /// None for a personal tenant.
    pub(crate) tenant: Option<&'a Key>,
    pub(crate) user: &'a Key,
    pub(crate) action: &'a Key,
    pub(crate) return_url: Option<&'a str>,
}

/// What every link says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Names the link, so that what comes of it can be matched with the refusal.
    pub id: Id,
    /// From this instant it is of no use.
    pub expires_at: Timestamp,
    /// The tenant's key; none for a personal tenant.
    pub tenant: Option<String>,
    /// The user's key.
    pub user: String,
    /// The action's key.
    pub action: String,
    /// The code of the unit that its amounts are in.
    pub unit: String,
    /// Where to go back to, on one of the sites in the settings.
    pub return_url: Option<String>,
}

/// What a link for buying credits says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopupLink {
    /// Who was refused what.
    pub link: Link,
    /// What the action costs.
    pub required: String,
    /// What there was when it was refused; negative with debt.
    pub available: String,
    /// What was missing, debt included.
    pub shortfall: String,
}

/// What a link for a confirmation says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfirmLink {
    /// Who is about to spend on what. It ends as its quote does.
    pub link: Link,
    /// What the action costs.
    pub cost: String,
}

impl App {
    /// The link for a request that was refused for lack of credits; none where the refusal is another one.
    pub(crate) fn topup_url(
        &self,
        refused: &Refused<'_>,
        rejection: &Rejection,
        expires_at: Timestamp,
    ) -> Option<String> {
        let Rejection::InsufficientCredits { required, available, unit, .. } = rejection else { return None };
        self.link(TOPUP, refused, unit, &[*required, *available, *required - *available], expires_at)
    }

    /// The link for a request whose cost somebody has to confirm.
    pub(crate) fn confirm_url(
        &self,
        refused: &Refused<'_>,
        unit: &Key,
        cost: Amount,
        expires_at: Timestamp,
    ) -> Option<String> {
        self.link(CONFIRM, refused, unit, &[cost], expires_at)
    }

    fn link(
        &self,
        purpose: &str,
        refused: &Refused<'_>,
        unit: &Key,
        amounts: &[Amount],
        expires_at: Timestamp,
    ) -> Option<String> {
        let counted = self.catalogue().unit(unit).cloned()?;
        let content = Content::default()
            .fixed(&[VERSION])
            .fixed(&self.inner.ids.id().to_bytes())
            .fixed(&expires_at.0.to_be_bytes())
            .option(refused.tenant.map(|key| key.as_str().as_bytes()))
            .part(refused.user.as_str().as_bytes())
            .part(refused.action.as_str().as_bytes())
            .part(unit.as_str().as_bytes())
            .option(refused.return_url.map(str::as_bytes));
        let content =
            amounts.iter().fold(content, |content, amount| content.part(counted.render(*amount).as_bytes()));
        let token = self.inner.secrets.seal(purpose, content.bytes());
        Some(format!("{}/{purpose}/{token}", self.inner.settings.public_url))
    }

    /// What a link for buying credits says; none when it is not one of ours.
    pub fn topup_link(&self, token: &str) -> Option<TopupLink> {
        let (link, [required, available, shortfall]) = self.linked(TOPUP, token)?;
        Some(TopupLink { link, required, available, shortfall })
    }

    /// What a link for a confirmation says; none when it is not one of ours.
    pub fn confirm_link(&self, token: &str) -> Option<ConfirmLink> {
        let (link, [cost]) = self.linked(CONFIRM, token)?;
        Some(ConfirmLink { link, cost })
    }

    /// What every link says, and the amounts of this kind of link.
    fn linked<const N: usize>(&self, purpose: &str, token: &str) -> Option<(Link, [String; N])> {
        let content = self.inner.secrets.open(purpose, token)?;
        let mut parts = Parts(&content);
        let [VERSION] = parts.fixed()? else { return None };
        let link = Link {
            id: Id::from_bytes(parts.fixed()?),
            expires_at: Timestamp(i64::from_be_bytes(parts.fixed()?)),
            tenant: parts.text_option()?,
            user: parts.text()?,
            action: parts.text()?,
            unit: parts.text()?,
            return_url: parts.text_option()?,
        };
        let amounts: Option<Vec<String>> = (0..N).map(|_| parts.text()).collect();
        Some((link, amounts?.try_into().ok()?))
    }

    /// Refuses an address to come back to that is on no site of the settings. What was answered before is answered again
    /// without asking this: settings change.
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

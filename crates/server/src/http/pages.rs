//! Pages for people, to which signed links lead. No key is needed: who has the link sees what is in it, and it does nothing.
//!
//! Plain HTML that works on a phone and without scripts. Everything that comes from a request is escaped, the policy lets
//! nothing run and nothing be loaded but the one stylesheet, and no address of a page is told to other sites.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use purser_app::App;
use purser_app::link::{ConfirmLink, Link, TopupLink};

const STYLE: &str = include_str!("pages.css");
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The pages and their stylesheet.
pub fn pages() -> Router<App> {
    Router::new()
        .route("/topup/{token}", get(topup))
        .route("/confirm/{token}", get(confirm))
        .route("/pages.css", get(style))
}

async fn style() -> Response {
    let kind = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF)], STYLE).into_response()
}

async fn topup(State(app): State<App>, token: Result<Path<String>, PathRejection>) -> Response {
    // What does not decode to text is no link of ours.
    match token.ok().and_then(|Path(token)| app.topup_link(&token)) {
        None => unknown(),
        Some(topup) if topup.link.expires_at <= app.now() => over(&topup.link),
        Some(link) => page(StatusCode::OK, "More credits are needed", &missing(&link)),
    }
}

async fn confirm(State(app): State<App>, token: Result<Path<String>, PathRejection>) -> Response {
    match token.ok().and_then(|Path(token)| app.confirm_link(&token)) {
        None => unknown(),
        Some(confirm) if confirm.link.expires_at <= app.now() => over(&confirm.link),
        Some(link) => page(StatusCode::OK, "Please confirm", &asked(&link)),
    }
}

fn unknown() -> Response {
    page(
        StatusCode::NOT_FOUND,
        "No such link",
        "<p>This link is incomplete, or was not made by this service. Go back and try again.</p>",
    )
}

fn over(link: &Link) -> Response {
    let body = format!("<p>Go back and try again: you get a new one.</p>{}", back(link));
    page(StatusCode::GONE, "The link's time is over", &body)
}

/// Who is about to spend how much on what, and the way back: nothing is spent here.
fn asked(ConfirmLink { link, cost }: &ConfirmLink) -> String {
    format!(
        "<p class=\"cost\">{}</p><dl>{}</dl>\
         <p class=\"note\">This costs more than is spent without asking. Nothing was spent yet, and this page spends \
         nothing: go back to where you came from to go on with it, or to leave it.</p>{}",
        amount(link, cost),
        whose(link),
        back(link)
    )
}

/// Who was refused what, how much is missing, and the way back.
fn missing(TopupLink { link, required, available, shortfall }: &TopupLink) -> String {
    format!(
        "<p class=\"missing\">{} <span>missing</span></p><dl>{}{}{}</dl>\
         <p class=\"note\">Credits cannot be bought here yet. Ask whoever runs this service to add some; what you were \
         about to do can then go on at the same price.</p>{}",
        amount(link, shortfall),
        whose(link),
        row("It costs", &amount(link, required)),
        row("There was", &amount(link, available)),
        back(link)
    )
}

fn amount(link: &Link, number: &str) -> String {
    format!("{} {}", escaped(number), escaped(&link.unit))
}

/// Who wants what, and who pays where that is somebody else.
fn whose(link: &Link) -> String {
    let tenant = link.tenant.as_ref().map(|tenant| row("Paid by", &escaped(tenant))).unwrap_or_default();
    format!("{}{tenant}{}", row("User", &escaped(&link.user)), row("For", &escaped(&link.action)))
}

fn row(name: &str, value: &str) -> String {
    format!("<div><dt>{name}</dt><dd>{value}</dd></div>")
}

fn back(link: &Link) -> String {
    let to = |url: &String| {
        format!("<p><a class=\"back\" href=\"{}\" rel=\"noreferrer\">Go back</a></p>", escaped(url))
    };
    link.return_url.as_ref().map(to).unwrap_or_default()
}

const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A whole page. The title and body are markup: what they hold of others is escaped already.
fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\"><link rel=\"stylesheet\" href=\"/pages.css\"></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, text).into_response()
}

/// Text as it may stand in markup and in a quoted attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use purser_core::{Id, Timestamp};

    #[test]
    fn nothing_of_a_link_becomes_markup() {
        let evil = "'><b onclick=\"x\">&";
        let link = Link {
            id: Id(1),
            expires_at: Timestamp(0),
            tenant: Some(evil.into()),
            user: evil.into(),
            action: evil.into(),
            unit: evil.into(),
            return_url: Some(format!("https://app.example.com/{evil}")),
        };
        let confirm = ConfirmLink { link: link.clone(), cost: evil.into() };
        let [required, available, shortfall] = [evil; 3].map(String::from);
        let link = TopupLink { link, required, available, shortfall };
        for page in [missing(&link), asked(&confirm)] {
            assert!(!page.contains("<b") && !page.contains("onclick=\""), "{page}");
            assert!(page.contains("&#39;&gt;&lt;b onclick=&quot;x&quot;&gt;&amp;"), "{page}");
        }
    }
}

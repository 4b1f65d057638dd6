//! `purser doctor`: every setting in force and where it comes from, and whether the database can be used.
//!
//! A running server is asked; where none runs, the database is opened and closed, as a start would. One that is not
//! there yet is not made, nor is a secret key for one that has lost its own. A server database
//! is looked at beside its nodes, and nothing is changed on it.

use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

use purser_app::database::{self, Check, Verdict};
use purser_app::secret;
use serde::Serialize;

use super::key::reach;
use super::{CommandError, Context};
use crate::admin::{Answer, Ask};
use crate::config::Config;
use crate::logging;

/// What the doctor found.
#[derive(Serialize)]
struct Report {
    settings: Vec<SettingOut>,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct SettingOut {
    name: String,
    value: String,
    source: String,
}

#[derive(Serialize)]
struct Finding {
    what: String,
    ok: bool,
    /// It works and could be better; never together with `ok: false`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    warning: bool,
    detail: String,
}

impl Finding {
    fn new(what: &str, ok: bool, detail: String) -> Finding {
        Finding { what: what.to_string(), ok, warning: false, detail }
    }
}

/// Looks and reports; code 1 when something is wrong.
pub async fn run(context: Context) -> Result<ExitCode, CommandError> {
    let config = &context.config;
    let settings = config.settings.iter().map(|setting| SettingOut {
        name: setting.name.clone(),
        value: setting.shown().to_string(),
        source: setting.source.to_string(),
    });
    let mut findings = Vec::new();
    for name in &config.unknown_variables {
        let detail = "looks like a setting and is none: a typing error?".to_string();
        findings.push(Finding::new(name, false, detail));
    }
    if !config.listen.ip().is_loopback() {
        let detail = "reachable from other machines: put a proxy with TLS in front".to_string();
        findings.push(Finding::new("listen", true, detail));
    }
    findings.extend(logs(config));
    findings.extend(secrets(config));
    findings.extend(database(config).await);
    let report = Report { settings: settings.collect(), findings };
    context.print(&report, text)?;
    let fine = report.findings.iter().all(|finding| finding.ok);
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the directives of the log are understood.
fn logs(config: &Config) -> Option<Finding> {
    let wrong = logging::wrong_with(&config.log)?;
    Some(Finding::new("log", false, format!("not understood, info is logged: {wrong}")))
}

/// Whether the secret keys can be keys, and whether the one beside the database is its owner's alone.
fn secrets(config: &Config) -> Option<Finding> {
    let finding = |detail: String| Some(Finding::new("secret_key", false, detail));
    let sound = |key: &String| {
        key.len() >= 64 && key.len().is_multiple_of(2) && key.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    if !config.app.secret_keys.iter().all(sound) {
        return finding("each key has 64 or more hexadecimal digits, an even number".to_string());
    }
    if !config.app.secret_keys.is_empty() {
        return None;
    }
    let path = secret::path_beside(&config.app.sqlite_path()?);
    let mode = std::fs::metadata(&path).ok()?.permissions().mode();
    if mode & 0o077 == 0 {
        return None;
    }
    finding(format!("{} is open to other users: chmod 600 it", path.display()))
}

/// What is wrong with an embedded database before anybody opens it, or that it is not there yet; nothing when it can be opened.
fn unopened(config: &Config) -> Option<(bool, String)> {
    let path = config.app.sqlite_path()?;
    match std::fs::metadata(&path) {
        Ok(found) => {
            let secret = secret::path_beside(&path);
            let keyless = found.len() > 0 && config.app.secret_keys.is_empty() && !secret.exists();
            keyless.then(|| {
                let lost = "is missing, and so is the setting secret_key: put the database's own key back";
                (false, format!("{} {lost}", secret.display()))
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            match folder.filter(|folder| !folder.is_dir()) {
                Some(folder) => Some((false, format!("there is no folder {}", folder.display()))),
                None => Some((true, "is not there yet; the first start makes it".to_string())),
            }
        }
        Err(error) => Some((false, format!("{}: {error}", path.display()))),
    }
}

async fn database(config: &Config) -> Vec<Finding> {
    let finding = |ok: bool, detail: String| Finding::new("database", ok, detail);
    if config.app.sqlite_path().is_none() {
        return inspected(config).await;
    }
    if let Some((ok, detail)) = unopened(config) {
        return vec![finding(ok, detail)];
    }
    match reach(config, || Ask::Readiness).await {
        Ok(Answer::Checks { checks, notes }) => {
            let checks = checks.into_iter().map(|(what, wrong)| {
                Finding::new(&what, wrong.is_none(), wrong.unwrap_or_else(|| "fine".to_string()))
            });
            let notes = notes.into_iter().map(|(what, detail)| Finding::new(&what, true, detail));
            let mut findings: Vec<Finding> = checks.chain(notes).collect();
            findings.extend(inspected(config).await);
            findings
        }
        Ok(other) => vec![finding(false, format!("an unexpected answer: {other:?}"))],
        Err(error) => vec![finding(false, error.to_string())],
    }
}

/// What is to be said of the database without starting anything on it.
async fn inspected(config: &Config) -> Vec<Finding> {
    let settings = config.app.clone();
    let looked = tokio::task::spawn_blocking(move || database::inspect(&settings)).await;
    let checks = match looked.map_err(|error| error.to_string()) {
        Ok(Ok(checks)) => checks,
        Ok(Err(error)) => vec![wrong(error.to_string())],
        Err(error) => vec![wrong(error)],
    };
    let finding = |Check { what, verdict, detail }: Check| Finding {
        what: what.to_string(),
        ok: verdict != Verdict::Wrong,
        warning: verdict == Verdict::Warning,
        detail,
    };
    checks.into_iter().map(finding).collect()
}

fn wrong(detail: String) -> Check {
    Check { what: "database", verdict: Verdict::Wrong, detail }
}

fn text(report: &Report) -> String {
    let wide = |width: usize, text: &str| width.max(text.chars().count());
    let names = report.settings.iter().fold(0, |width, setting| wide(width, &setting.name));
    let values = report.settings.iter().fold(0, |width, setting| wide(width, &setting.value));
    let mut lines = vec!["Settings in force:".to_string()];
    for SettingOut { name, value, source } in &report.settings {
        lines.push(format!("  {name:<names$}  {value:<values$}  from {source}"));
    }
    lines.push("Findings:".to_string());
    for Finding { what, ok, warning, detail } in &report.findings {
        let found = match (ok, warning) {
            (false, _) => "WRONG",
            (true, true) => "warn ",
            (true, false) => "ok   ",
        };
        lines.push(format!("  {found} {what}: {detail}"));
    }
    lines.join("\n")
}

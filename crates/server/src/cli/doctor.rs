//! `purser doctor`: every setting in force and where it comes from, and whether the database can be used.
//!
//! A running server is asked; where none runs, the database is opened and closed, as a start would. One that is not
//! there yet is not made, nor is a secret key for one that has lost its own.

use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

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
    detail: String,
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
        findings.push(Finding { what: name.clone(), ok: false, detail });
    }
    if !config.listen.ip().is_loopback() {
        let detail = "reachable from other machines: put a proxy with TLS in front".to_string();
        findings.push(Finding { what: "listen".to_string(), ok: true, detail });
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
    Some(Finding {
        what: "log".to_string(),
        ok: false,
        detail: format!("not understood, info is logged: {wrong}"),
    })
}

/// Whether the secret keys can be keys, and whether the one beside the database is its owner's alone.
fn secrets(config: &Config) -> Option<Finding> {
    let finding = |detail: String| Some(Finding { what: "secret_key".to_string(), ok: false, detail });
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

/// What is wrong with a database before anybody opens it, or that it is not there yet; nothing when it can be opened.
fn unopened(config: &Config) -> Option<(bool, String)> {
    let Some(path) = config.app.sqlite_path().filter(|path| !path.as_os_str().is_empty()) else {
        return Some((false, "only sqlite:PATH is known".to_string()));
    };
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
    let finding = |ok: bool, detail: String| Finding { what: "database".to_string(), ok, detail };
    if let Some((ok, detail)) = unopened(config) {
        return vec![finding(ok, detail)];
    }
    match reach(config, || Ask::Readiness).await {
        Ok(Answer::Checks { checks, notes }) => {
            let checks = checks.into_iter().map(|(what, wrong)| Finding {
                what,
                ok: wrong.is_none(),
                detail: wrong.unwrap_or_else(|| "fine".to_string()),
            });
            let notes = notes.into_iter().map(|(what, detail)| Finding { what, ok: true, detail });
            checks.chain(notes).collect()
        }
        Ok(other) => vec![finding(false, format!("an unexpected answer: {other:?}"))],
        Err(error) => vec![finding(false, error.to_string())],
    }
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
    for Finding { what, ok, detail } in &report.findings {
        lines.push(format!("  {} {what}: {detail}", if *ok { "ok   " } else { "WRONG" }));
    }
    lines.join("\n")
}

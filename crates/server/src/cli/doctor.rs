//! `purser doctor`: every setting in force and where it comes from, and whether the database can be used.
//!
//! It changes nothing: a database that is not there yet is not made, a server database is looked at beside its nodes.

use std::process::ExitCode;

use purser_app::database::{self, Check, Verdict};
use serde::Serialize;

use super::key::reach;
use super::{CommandError, Context};
use crate::admin::{Answer, Ask};
use crate::config::Config;

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
        findings.push(Finding { what: name.clone(), ok: false, warning: false, detail });
    }
    if !config.listen.ip().is_loopback() {
        let detail = "reachable from other machines: put a proxy with TLS in front".to_string();
        findings.push(Finding { what: "listen".to_string(), ok: true, warning: false, detail });
    }
    findings.extend(database(config).await);
    let report = Report { settings: settings.collect(), findings };
    context.print(&report, text)?;
    let fine = report.findings.iter().all(|finding| finding.ok);
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn database(config: &Config) -> Vec<Finding> {
    let finding =
        |ok: bool, detail: String| Finding { what: "database".to_string(), ok, warning: false, detail };
    match config.app.sqlite_path() {
        None => return server_database(config).await,
        Some(path) if !path.exists() => {
            return vec![finding(true, "is not there yet; the first start makes it".to_string())];
        }
        Some(_) => {}
    }
    match reach(config, || Ask::Readiness).await {
        Ok(Answer::Checks(checks)) => checks
            .into_iter()
            .map(|(what, wrong)| Finding {
                what,
                ok: wrong.is_none(),
                warning: false,
                detail: wrong.unwrap_or_else(|| "fine".to_string()),
            })
            .collect(),
        Ok(other) => vec![finding(false, format!("an unexpected answer: {other:?}"))],
        Err(error) => vec![finding(false, error.to_string())],
    }
}

/// What is to be said of a server database, without starting anything on it.
async fn server_database(config: &Config) -> Vec<Finding> {
    let settings = config.app.clone();
    let inspected = tokio::task::spawn_blocking(move || database::inspect(&settings)).await;
    let checks = match inspected.map_err(|error| error.to_string()) {
        Ok(Ok(checks)) => checks.unwrap_or_default(),
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

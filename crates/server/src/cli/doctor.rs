//! `purser doctor`: every setting in force and where it comes from, and whether the database can be used.
//!
//! It changes nothing: a database that is not there yet is not made.

use std::process::ExitCode;

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
    findings.extend(database(config).await);
    let report = Report { settings: settings.collect(), findings };
    context.print(&report, text)?;
    let fine = report.findings.iter().all(|finding| finding.ok);
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn database(config: &Config) -> Vec<Finding> {
    let finding = |ok: bool, detail: String| Finding { what: "database".to_string(), ok, detail };
    match config.app.sqlite_path() {
        None => return vec![finding(false, "only sqlite:PATH is known".to_string())],
        Some(path) if !path.exists() => {
            return vec![finding(true, "is not there yet; the first start makes it".to_string())];
        }
        Some(_) => {}
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

//! Programs from PyPI, each in a virtual environment of its own below `target/tools`, never in the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{packages, step};

/// The folder of an environment called `name` that has exactly this package, with its programs in `bin`.
pub(crate) fn environment(tools: &Path, name: &str, package: &str) -> Result<PathBuf, String> {
    let environment = tools.join(name);
    let mark = environment.join("installed");
    let python = environment.join("bin/python");
    if python.exists() && fs::read_to_string(&mark).is_ok_and(|installed| installed == package) {
        return Ok(environment);
    }
    if !packages::on_path("python3") {
        packages::install(&["python3", "python3-venv"], "Python")?;
    }
    fs::create_dir_all(tools).map_err(|error| format!("{}: {error}", tools.display()))?;
    let make = || step::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment));
    // Debian splits `venv` off Python, and says so only when it is used.
    if make().is_err() {
        packages::install(&["python3-venv"], "Python's venv")?;
        make()?;
    }
    let mut pip = Command::new(environment.join("bin/pip"));
    step::run(pip.args(["install", "--quiet", "--disable-pip-version-check", package]))?;
    fs::write(&mark, package).map_err(|error| format!("{}: {error}", mark.display()))?;
    Ok(environment)
}

//! Installs Debian packages that a command needs and the machine lacks; without the right to install,
//! says exactly what to type and fails.
//!
//! Never starts a packaged service: what xtask uses runs privately, in a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Debian asks this program before it starts a service; 101 means "do not".
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Where Debian keeps servers; a user's path may lack them.
const SERVER_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Only one installation at a time; holds whether the lists of packages are new.
static INSTALLING: Mutex<bool> = Mutex::new(false);

/// What `find` finds, after installing `packages` if it finds nothing. Several threads may ask at once.
pub(crate) fn find_or_install<T>(
    find: impl Fn() -> Option<T>,
    packages: &[&str],
    purpose: &str,
) -> Result<T, String> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let mut updated = INSTALLING.lock().expect("nothing panics while holding this");
    // Another thread may have installed it while we waited for our turn.
    if find().is_none() {
        run_apt(packages, purpose, !*updated)?;
        *updated = true;
    }
    find().ok_or_else(|| format!("{} was installed and {purpose} is not there", packages.join(" ")))
}

/// Installs `packages` for the sake of `purpose`.
pub(crate) fn install(packages: &[&str], purpose: &str) -> Result<(), String> {
    let mut updated = INSTALLING.lock().expect("nothing panics while holding this");
    run_apt(packages, purpose, !*updated)?;
    *updated = true;
    Ok(())
}

fn run_apt(packages: &[&str], purpose: &str, update: bool) -> Result<(), String> {
    let list = packages.join(" ");
    // What is installed stays as it is: an upgrade would replace the programs of running servers.
    let install = format!("apt-get install -y --no-install-recommends --no-upgrade {list}");
    let advice = format!("{purpose} is missing. Install it and try again:\n    apt-get update && {install}");
    if !is_root() || !on_path("apt-get") {
        return Err(advice);
    }
    eprintln!("xtask: installing {list} ({purpose})");
    let _quiet = NoServices::ask();
    let options = "-q -o DPkg::Lock::Timeout=600";
    let update = if update { format!("apt-get {options} update && ") } else { String::new() };
    let script = format!("{update}{}", install.replacen("apt-get", &format!("apt-get {options}"), 1));
    let status = Command::new("sh")
        .args(["-c", &script])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("apt-get ended with {status}. {advice}")),
        Err(error) => Err(format!("apt-get: {error}. {advice}")),
    }
}

/// Whether a program of this name can be started.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// Where a program or a server of this name lies.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SERVER_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether we may do anything on this machine.
pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        ids.and_then(|ids| ids.split_whitespace().nth(1)).is_some_and(|effective| effective == "0")
    })
}

/// While this lives, Debian starts no service. Where a policy exists already, that one is left alone.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn ask() -> Self {
        let ours = !Path::new(POLICY).exists()
            && fs::write(POLICY, "#!/bin/sh\nexit 101\n").is_ok()
            && fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).is_ok();
        NoServices { ours }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            drop(fs::remove_file(POLICY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_or_not() {
        assert!(on_path("sh"));
        assert!(!on_path("a-program-that-nobody-has"));
        assert!(find_program("sh").is_some_and(|file| file.is_file()));
        assert_eq!(find_program("a-program-that-nobody-has"), None);
    }

    #[test]
    fn what_is_there_is_not_installed() {
        assert_eq!(find_or_install(|| Some(7), &["a-package-that-nobody-has"], "nothing"), Ok(7));
    }
}

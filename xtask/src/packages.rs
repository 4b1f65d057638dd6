//! Installs Debian packages that a command needs and the machine lacks; without the right to install,
//! says exactly what to type and fails.
//!
//! Never starts a packaged service: what xtask uses runs privately, in a folder of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Debian asks this program before it starts a service; 101 means "do not".
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs `packages` for the sake of `purpose`.
pub(crate) fn install(packages: &[&str], purpose: &str) -> Result<(), String> {
    let list = packages.join(" ");
    let advice = format!(
        "{purpose} is missing. Install it and try again:\n    apt-get update && apt-get install -y --no-install-recommends {list}"
    );
    if !is_root() || !on_path("apt-get") {
        return Err(advice);
    }
    eprintln!("xtask: installing {list} ({purpose})");
    let _quiet = NoServices::ask();
    // One string for both, so that the words typed by hand and by us are the same.
    let script = format!("apt-get update -q && apt-get install -y -q --no-install-recommends {list}");
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
    }
}

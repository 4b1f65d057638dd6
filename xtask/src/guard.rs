//! Guards over what a command leaves behind: child processes and folders. Each is stopped or removed
//! when its guard is dropped, and also when xtask is told to stop by a signal.
//!
//! A process is only ever stopped by the id it got from us, never by a name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a child may take to stop by itself before it is killed.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What a signal has to clean up, newest last.
static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());

#[derive(Clone, PartialEq, Eq)]
enum Open {
    Process(u32, &'static str),
    Folder(PathBuf),
}

fn opened(open: Open) {
    OPEN.lock().expect("nothing panics while holding this").push(open);
}

fn closed(open: &Open) {
    OPEN.lock().expect("nothing panics while holding this").retain(|other| other != open);
}

/// Cleans up on Ctrl-C and on termination, and ends xtask. Called once, by `main`.
pub(crate) fn clean_up_on_signals() -> Result<(), String> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(|error| format!("listening for signals: {error}"))?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("xtask: stopping what was started");
            let open = OPEN.lock().map(|open| open.clone()).unwrap_or_default();
            for one in open.iter().rev() {
                match one {
                    Open::Process(pid, stop) => {
                        send(*pid, stop);
                        wait_until_gone(*pid);
                    }
                    Open::Folder(path) => drop(fs::remove_dir_all(path)),
                }
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

fn send(pid: u32, signal: &str) {
    // The shell's own `kill` is there even where the package of the program is not.
    let kill =
        Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).stderr(Stdio::null()).status();
    drop(kill);
}

/// Waits for a child whose handle another thread holds.
fn wait_until_gone(pid: u32) {
    let give_up = Instant::now() + STOP_MAX;
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    while Instant::now() < give_up && state().is_some_and(|stat| !stat.contains(") Z ")) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder that is removed with all that is in it.
pub(crate) struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    /// Makes a folder on a real disk: `/var/tmp` outlives a restart and so is never memory, as `/tmp`
    /// may be, where an fsync would cost nothing and prove nothing.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let base =
            if Path::new("/var/tmp").is_dir() { PathBuf::from("/var/tmp") } else { std::env::temp_dir() };
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("purser-{name}-{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        opened(Open::Folder(path.clone()));
        Ok(TempFolder { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("xtask: {} stays behind: {error}", self.path.display());
        }
        closed(&Open::Folder(self.path.clone()));
    }
}

/// A child process that is asked to stop, and killed if it does not.
pub(crate) struct Process {
    child: Child,
    stop: &'static str,
}

impl Process {
    /// Starts `command`, to be stopped by the signal `stop` (`INT`, `TERM`).
    pub(crate) fn start(command: &mut Command, stop: &'static str) -> Result<Self, String> {
        let child = command.spawn().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        opened(Open::Process(child.id(), stop));
        Ok(Process { child, stop })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Asks it to stop, waits, and says how it went.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.stop_and_wait()
    }

    fn stop_and_wait(&mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return if status.success() { Ok(()) } else { Err(format!("it had ended by itself: {status}")) };
        }
        send(self.child.id(), self.stop);
        let give_up = Instant::now() + STOP_MAX;
        while Instant::now() < give_up {
            if let Ok(Some(status)) = self.child.try_wait() {
                return if status.success() { Ok(()) } else { Err(format!("it ended with {status}")) };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
        Err(format!("it did not stop within {} s and was killed", STOP_MAX.as_secs()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whoever cares how it ended has called `stop`; here it only has to be gone.
        drop(self.stop_and_wait());
        closed(&Open::Process(self.child.id(), self.stop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_gone_with_its_guard() {
        let folder = TempFolder::new("guard").expect("room on the disk");
        let path = folder.path().to_path_buf();
        fs::write(path.join("file"), "x").expect("room on the disk");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_process_is_gone_with_its_guard() {
        let process = Process::start(Command::new("sleep").arg("600"), "TERM").expect("sleep is everywhere");
        let stat = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(stat.exists());
        drop(process);
        assert!(!stat.exists());
    }

    #[test]
    fn a_process_that_ended_by_itself_with_an_error_is_told() {
        let mut process = Process::start(Command::new("sh").args(["-c", "exit 3"]), "TERM").expect("a shell");
        while process.ended().is_none() {
            std::thread::yield_now();
        }
        let told = process.stop().expect_err("it failed");
        assert!(told.contains('3'), "{told}");
    }
}

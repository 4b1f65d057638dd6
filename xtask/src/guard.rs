//! Guards over what a command leaves behind: child processes and folders. Each is stopped or removed
//! when its guard is dropped, and also when xtask is told to stop by a signal.
//!
//! A process is only ever stopped by the id it got from us, never by a name, and only while it is our
//! child. Read next: `services`, whose servers live behind these guards.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// How long a child may take to stop by itself before it is killed.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What a signal has to clean up, newest last.
static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());

#[derive(PartialEq, Eq)]
enum Open {
    Process(u32, &'static str),
    Folder(PathBuf),
}

fn open() -> MutexGuard<'static, Vec<Open>> {
    OPEN.lock().expect("nothing panics while holding this")
}

/// Cleans up on Ctrl-C and on termination, and ends xtask. Called once, by `main`.
pub(crate) fn clean_up_on_signals() -> Result<(), String> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(|error| format!("listening for signals: {error}"))?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("xtask: stopping what was started");
            // Held until the end, so that no other thread starts anything that nobody would stop.
            let held = open();
            clean_up(&held);
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Asks all processes to stop before it waits for any: a cluster would take as long as its nodes together.
fn clean_up(open: &[Open]) {
    let give_up = Instant::now() + STOP_MAX;
    let processes = || {
        open.iter().rev().filter_map(|one| match one {
            Open::Process(pid, stop) => Some((*pid, *stop)),
            Open::Folder(_) => None,
        })
    };
    for (pid, stop) in processes().filter(|(pid, _)| is_running(*pid)) {
        send(pid, stop);
    }
    for (pid, _) in processes() {
        while is_running(pid) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(20));
        }
        if is_running(pid) {
            send(pid, "KILL");
        }
    }
    for one in open.iter().rev() {
        if let Open::Folder(path) = one {
            drop(remove(path));
        }
    }
}

/// Removes a folder. The children of a process that was killed may still be writing their last files.
fn remove(path: &Path) -> std::io::Result<()> {
    for _ in 0..20 {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(Duration::from_millis(50));
            }
            done => return done,
        }
    }
    fs::remove_dir_all(path)
}

fn send(pid: u32, signal: &str) {
    // The shell's own `kill` is there even where the package of the program is not.
    let kill =
        Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).stderr(Stdio::null()).status();
    drop(kill);
}

/// Whether this is a child of ours that has not ended. A number that the kernel has given to somebody
/// else's process meanwhile has another parent.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program stands in brackets and may hold anything.
    let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let (state, parent) = (fields.next(), fields.next().and_then(|parent| parent.parse().ok()));
    parent == Some(std::process::id()) && state != Some("Z")
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
        let mut open = open();
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        open.push(Open::Folder(path.clone()));
        Ok(TempFolder { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        // Under the lock, so that a signal does not remove the same files at the same time.
        let mut open = open();
        if let Err(error) = remove(&self.path) {
            eprintln!("xtask: {} stays behind: {error}", self.path.display());
        }
        open.retain(|one| !matches!(one, Open::Folder(path) if *path == self.path));
    }
}

/// A child process that is asked to stop, and killed if it does not.
pub(crate) struct Process {
    child: Child,
    stop: &'static str,
}

impl Process {
    /// Starts `command`, to be stopped by the signal `stop` (`INT`, `TERM`).
    pub(crate) fn start(command: Command, stop: &'static str) -> Result<Self, String> {
        let program = command.get_program().to_os_string();
        let mut open = open();
        let child = spawn(command).map_err(|error| format!("{program:?}: {error}"))?;
        open.push(Open::Process(child.id(), stop));
        Ok(Process { child, stop })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there; unlike `ended`, it may be asked by anybody.
    pub(crate) fn is_running(&self) -> bool {
        is_running(self.child.id())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// `kill -9`, as a crash of the machine would: it gets no chance to write anything more.
    pub(crate) fn kill(mut self) -> Result<(), String> {
        if let Some(status) = self.ended() {
            return Err(format!("it had ended by itself: {status}"));
        }
        self.child.kill().and_then(|()| self.child.wait()).map(drop).map_err(|error| format!("kill: {error}"))
    }

    /// Asks it to stop, waits, and says how it went.
    pub(crate) fn stop(self) -> Result<(), String> {
        self.stop_with(0)
    }

    /// The same for a program that ends with `code` when it is asked to.
    pub(crate) fn stop_with(mut self, code: i32) -> Result<(), String> {
        self.stop_and_wait(code)
    }

    fn stop_and_wait(&mut self, code: i32) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return if status.success() { Ok(()) } else { Err(format!("it had ended by itself: {status}")) };
        }
        send(self.child.id(), self.stop);
        let give_up = Instant::now() + STOP_MAX;
        while Instant::now() < give_up {
            if let Ok(Some(status)) = self.child.try_wait() {
                let well = status.success() || status.code() == Some(code);
                return if well { Ok(()) } else { Err(format!("it ended with {status}")) };
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
        drop(self.stop_and_wait(0));
        open().retain(|one| !matches!(one, Open::Process(pid, _) if *pid == self.child.id()));
    }
}

/// Starts a program from a thread that lives as long as xtask. The kernel sends the signal that
/// `setpriv --pdeathsig` asks for when the *thread* that made the child ends, so a server started by a
/// thread of its own would be stopped when that thread has done its work.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static MAKER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let maker = MAKER.get_or_init(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                drop(answer.send(command.spawn()));
            }
        });
        Mutex::new(sender)
    });
    let (sender, answer) = mpsc::channel();
    let ended = |_| std::io::Error::other("the thread that starts processes has ended");
    let order = maker.lock().expect("nothing panics while holding this").send((command, sender));
    order.map_err(|_| ended(mpsc::RecvError))?;
    answer.recv().map_err(ended)?
}

/// Runs a program that ends by itself and answers its standard output; one that has not ended within
/// `limit` is killed. The error holds what the program said.
pub(crate) fn output(mut command: Command, limit: Duration) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::start(command, "TERM")?;
    let said = read_aside(process.child.stdout.take().expect("piped above"));
    let complained = read_aside(process.child.stderr.take().expect("piped above"));
    let give_up = Instant::now() + limit;
    let status = loop {
        match process.child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < give_up => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                // Whoever else holds its pipes may hold them for ever, so they are not read to the end.
                drop(process.kill());
                return Err(format!("{name} did not end within {} s and was killed", limit.as_secs()));
            }
            Err(error) => return Err(format!("{name}: {error}")),
        }
    };
    let text = |reader: mpsc::Receiver<String>| reader.recv_timeout(STOP_MAX).unwrap_or_default();
    let (said, complained) = (text(said), text(complained));
    if status.success() {
        return Ok(said);
    }
    Err(format!("{name} ended with {status}: {}", format!("{said}{complained}").trim()))
}

/// Reads from a pipe on a thread of its own, so that a program that writes much does not wait for us.
fn read_aside(mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

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
        let process = Process::start(shell("exec sleep 600"), "TERM").expect("a shell");
        let pid = process.id();
        assert!(process.is_running() && is_running(pid));
        drop(process);
        assert!(!is_running(pid));
    }

    #[test]
    fn a_process_is_gone_with_its_guard_when_its_owner_panics() {
        let (sender, receiver) = mpsc::channel();
        let owner = std::thread::spawn(move || {
            let process = Process::start(shell("exec sleep 600"), "TERM").expect("a shell");
            let folder = TempFolder::new("guard").expect("room on the disk");
            sender.send((process.id(), folder.path().to_path_buf())).expect("somebody listens");
            panic!("on purpose");
        });
        let (pid, path) = receiver.recv().expect("sent before the panic");
        assert!(owner.join().is_err());
        assert!(!is_running(pid) && !path.exists());
    }

    #[test]
    fn a_process_outlives_the_thread_that_asked_for_it() {
        let started = std::thread::spawn(|| {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "TERM", "sh", "-c", "echo ready; read line; echo $line"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut process = Process::start(command, "TERM").expect("setpriv is everywhere");
            let mut output = process.child.stdout.take().expect("piped");
            output.read_exact(&mut [0; 6]).expect("it speaks");
            (process, output)
        });
        let (mut process, output) = started.join().expect("no panic");
        let mut input = process.child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut input, b"alive\n").expect("it reads");
        assert_eq!(read_aside(output).recv().as_deref(), Ok("alive\n"));
    }

    #[test]
    fn a_process_that_ended_by_itself_with_an_error_is_told() {
        let mut process = Process::start(shell("exit 3"), "TERM").expect("a shell");
        while process.ended().is_none() {
            std::thread::yield_now();
        }
        assert!(!process.is_running());
        let told = process.stop().expect_err("it failed");
        assert!(told.contains('3'), "{told}");
    }

    #[test]
    fn a_process_may_end_with_a_code_of_its_own_when_it_is_asked_to_stop() {
        let started = || {
            let mut command = shell("trap 'exit 7' TERM; echo ready; while :; do :; done");
            command.stdout(Stdio::piped());
            let mut process = Process::start(command, "TERM").expect("a shell");
            let mut output = process.child.stdout.take().expect("piped");
            // Its handler is there once it has said so.
            output.read_exact(&mut [0; 5]).expect("it speaks");
            process
        };
        assert_eq!(started().stop_with(7), Ok(()));
        assert!(started().stop().is_err_and(|told| told.contains('7')));
    }

    #[test]
    fn a_killed_process_is_gone_and_cannot_be_killed_twice() {
        let process = Process::start(shell("exec sleep 600"), "TERM").expect("a shell");
        let pid = process.id();
        process.kill().expect("it ran");
        assert!(!is_running(pid));
        let mut process = Process::start(shell("exit 0"), "TERM").expect("a shell");
        while process.ended().is_none() {
            std::thread::yield_now();
        }
        assert!(process.kill().is_err());
    }

    #[test]
    fn only_our_own_children_are_taken_for_running() {
        assert!(!is_running(1), "nobody of ours");
        assert!(!is_running(std::process::id()), "not our own child");
    }

    #[test]
    fn output_is_what_a_program_prints_or_why_it_failed() {
        let minute = Duration::from_secs(60);
        assert_eq!(output(shell("echo said; echo complained >&2"), minute).as_deref(), Ok("said\n"));
        let told = output(shell("echo why >&2; exit 4"), minute).expect_err("it fails");
        assert!(told.contains("why") && told.contains('4'), "{told}");
        let told = output(shell("exec sleep 600"), Duration::from_millis(50)).expect_err("it sleeps");
        assert!(told.contains("did not end"), "{told}");
    }
}

//! What a figure was measured on: a number without its machine says nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::guard::TempFolder;
use crate::repo;

/// How long a machine is watched before it counts as at rest, how busy it may be then, and how long that is waited for.
const REST: Duration = Duration::from_millis(300);
const REST_PERCENT: u64 = 5;
const REST_MAX: Duration = Duration::from_secs(30);

pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_gib: u64,
    pub(super) kernel: String,
    /// The median of many: a 4 kB write and its fdatasync.
    pub(super) sync: Duration,
    pub(super) rust: String,
    pub(super) commit: String,
    pub(super) date: String,
}

#[cfg(test)]
impl Machine {
    pub(super) fn some() -> Machine {
        Machine {
            cpu: "A Chip".to_string(),
            cores: 2,
            memory_gib: 24,
            kernel: "Linux 6.1".to_string(),
            sync: Duration::from_micros(110),
            rust: "rustc 1.95.0".to_string(),
            commit: "0123456789ab".to_string(),
            date: "2026-11-22".to_string(),
        }
    }
}

pub(super) fn describe(root: &Path) -> Result<Machine, String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kilobytes = field(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    Ok(Machine {
        cpu: field(&cpus, "model name").unwrap_or("unknown").to_string(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        memory_gib: (kilobytes.unwrap_or(0) + (1 << 19)) >> 20,
        kernel: format!("Linux {}", kernel.trim()),
        sync: sync_time()?,
        rust: said_by("rustc", &["--version"]),
        commit: repo::commit(root),
        date: said_by("date", &["-u", "+%Y-%m-%d"]),
    })
}

/// The memory of a process that is really there, shared pages included.
pub(super) fn resident_kilobytes(pid: u32) -> Result<u64, String> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| format!("{pid}: {error}"))?;
    let resident = field(&status, "VmRSS").and_then(|text| text.split(' ').next()?.parse().ok());
    resident.ok_or_else(|| format!("/proc/{pid}/status has no VmRSS"))
}

/// Waits until no processor has much to do: what a load leaves to be done behind it should not be done while the next one is
/// measured. A machine that does not come to rest is measured as it is.
pub(super) fn come_to_rest() -> Result<(), String> {
    let give_up = Instant::now() + REST_MAX;
    while Instant::now() < give_up {
        let (busy, all) = ticks(&fs::read_to_string("/proc/stat").unwrap_or_default())?;
        std::thread::sleep(REST);
        let (busy_then, all_then) = ticks(&fs::read_to_string("/proc/stat").unwrap_or_default())?;
        // The system may take back some of the time that it counted as waited.
        if busy_then.saturating_sub(busy) * 100 <= all_then.saturating_sub(all) * REST_PERCENT {
            break;
        }
    }
    Ok(())
}

/// How long the processors have been busy, and how long they have been there, of `/proc/stat`.
fn ticks(stat: &str) -> Result<(u64, u64), String> {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let numbers = line.ok_or("/proc/stat has no line for all processors")?.split_whitespace();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted as users already.
    let numbers: Vec<u64> = numbers.take(8).map_while(|number| number.parse().ok()).collect();
    let [_, _, _, idle, waiting, ..] = numbers[..] else { return Err(format!("/proc/stat: {stat}")) };
    let all: u64 = numbers.iter().sum();
    Ok((all - idle - waiting, all))
}

/// The first `name: value` of a file in /proc.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "unknown".to_string(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_string(),
    )
}

/// How long the disk that the databases lie on takes to keep something.
fn sync_time() -> Result<Duration, String> {
    let folder = TempFolder::new("sync")?;
    let told = |error: std::io::Error| format!("fdatasync: {error}");
    let mut file = File::create(folder.path().join("file")).map_err(told)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        file.write_all(&[7; 4096]).map_err(told)?;
        file.sync_data().map_err(told)?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory_can_be_read() {
        let kilobytes = resident_kilobytes(std::process::id()).expect("we are running");
        assert!(kilobytes > 500, "{kilobytes} kB");
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t\t: 85\nmodel name\t: A Chip @ 2 GHz\nMemTotal:       24683656 kB\n";
        assert_eq!(field(text, "model name"), Some("A Chip @ 2 GHz"));
        assert_eq!(field(text, "MemTotal"), Some("24683656 kB"));
        assert_eq!(field(text, "Mem"), None);
    }

    #[test]
    fn waiting_for_the_disk_is_no_work() {
        let stat = "cpu  10 1 20 300 40 2 3 4 5 0\ncpu0 1 2 3 4 5 6 7 8\n";
        assert_eq!(ticks(stat), Ok((40, 380)));
        assert!(ticks("intr 1 2").is_err() && ticks("cpu  1 2").is_err());
    }
}

//! A standby: a second PostgreSQL that holds every commit of the first one before the first one answers,
//! and that takes over when it is promoted.
//!
//! Nobody promotes by itself here: that is the work of a cluster manager, which Purser is not.

use std::fs::OpenOptions;
use std::io::Write;

use super::{Postgres, ROLE};
use crate::services::daemon::START_MAX;

impl Postgres {
    /// Copies this server, starts the copy as its synchronous standby, and waits until it is in step.
    /// From then on a commit here waits for the standby.
    pub(crate) fn standby(&self) -> Result<Postgres, String> {
        let standby = Self::empty()?;
        let name = format!("standby_{}", standby.port);
        let mut copy = standby.daemon.command(&standby.programs.join("pg_basebackup"));
        let primary = format!(
            "host={} port={} user={ROLE} application_name={name}",
            self.daemon.folder().display(),
            self.port
        );
        // `-R` leaves the address of the primary and the mark that makes a standby of a copy.
        copy.args(["-d", &primary, "-D", "data", "-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        standby.daemon.prepare(copy)?;
        standby.waits_for_nobody()?;
        let standby = standby.started()?;
        self.query(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"))?;
        self.query("SELECT pg_reload_conf()")?;
        self.wait_for_standby(&name)?;
        Ok(standby)
    }

    /// Makes a primary of this standby; the old primary must be gone.
    pub(crate) fn promote(&self) -> Result<(), String> {
        let mut promote = self.daemon.command(&self.programs.join("pg_ctl"));
        promote.args(["promote", "-D", "data", "-w", "-t", &START_MAX.as_secs().to_string()]);
        self.daemon.prepare(promote).map(drop)
    }

    /// A copy of a primary that had a standby would, once promoted, wait for that standby for ever.
    fn waits_for_nobody(&self) -> Result<(), String> {
        let settings = self.daemon.folder().join("data/postgresql.auto.conf");
        let file = OpenOptions::new().append(true).open(&settings);
        let written = file.and_then(|mut file| file.write_all(b"synchronous_standby_names = ''\n"));
        written.map_err(|error| format!("{}: {error}", settings.display()))
    }

    fn wait_for_standby(&self, name: &str) -> Result<(), String> {
        let state = format!("SELECT sync_state FROM pg_stat_replication WHERE application_name = '{name}'");
        self.daemon.wait_until("see its standby in step", START_MAX, || match self.query(&state)?.as_str() {
            "sync" => Ok(()),
            other => Err(format!("the state of the standby is {other:?}")),
        })
    }
}

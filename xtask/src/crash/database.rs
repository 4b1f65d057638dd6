//! What is killed under the load: a database on its own, a primary with its standby, a cluster.

use crate::services::{Galera, MariaDb, Postgres};

/// A database that loses a process and, in whatever way it does that, comes back.
pub(super) trait Database {
    /// For nodes; with every host that they may meet.
    fn url(&self) -> String;
    /// `kill -9`, and what its operator would do then; returns once it takes writes again.
    fn crash(&mut self, chance: u64) -> Result<(), String>;
    /// After a round: whole again.
    fn mend(&mut self) -> Result<(), String> {
        Ok(())
    }
    fn stop(self: Box<Self>) -> Result<(), String>;
}

impl Database for Postgres {
    fn url(&self) -> String {
        Postgres::url(self)
    }

    fn crash(&mut self, _: u64) -> Result<(), String> {
        self.kill()?;
        self.restart()
    }

    fn stop(self: Box<Self>) -> Result<(), String> {
        Postgres::stop(*self)
    }
}

impl Database for MariaDb {
    fn url(&self) -> String {
        MariaDb::url(self)
    }

    fn crash(&mut self, _: u64) -> Result<(), String> {
        self.kill()?;
        self.restart()
    }

    fn stop(self: Box<Self>) -> Result<(), String> {
        MariaDb::stop(*self)
    }
}

/// A primary and its synchronous standby. The primary dies once, for good; the standby is promoted.
pub(super) struct Pair {
    primary: Postgres,
    standby: Postgres,
}

impl Pair {
    pub(super) fn start() -> Result<Self, String> {
        let primary = Postgres::start()?;
        let standby = primary.standby()?;
        Ok(Pair { primary, standby })
    }
}

impl Database for Pair {
    fn url(&self) -> String {
        let host = |server: &Postgres| {
            let url = server.url();
            let host = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).map(|(host, _)| host);
            host.unwrap_or_default().to_string()
        };
        let (first, second) = (host(&self.primary), host(&self.standby));
        self.primary.url().replace(&first, &format!("{first},{second}"))
    }

    fn crash(&mut self, _: u64) -> Result<(), String> {
        self.primary.kill()?;
        self.standby.promote()
    }

    fn stop(self: Box<Self>) -> Result<(), String> {
        self.standby.stop()?;
        self.primary.stop()
    }
}

/// Three MariaDBs in step, the first healthy of which takes all writes.
pub(super) struct Cluster {
    cluster: Galera,
    killed: Option<usize>,
}

impl Cluster {
    pub(super) fn start() -> Result<Self, String> {
        Ok(Cluster { cluster: Galera::start()?, killed: None })
    }
}

impl Database for Cluster {
    fn url(&self) -> String {
        let urls = self.cluster.urls();
        let hosts = urls.iter().filter_map(|url| url.split_once('@')?.1.split_once('/'));
        let hosts: Vec<&str> = hosts.map(|(host, _)| host).collect();
        urls[0].replace(hosts[0], &hosts.join(","))
    }

    /// Mostly the node that is written to.
    fn crash(&mut self, chance: u64) -> Result<(), String> {
        let number = match chance % 4 {
            0 => 1,
            _ => 0,
        };
        self.cluster.kill(number)?;
        self.killed = Some(number);
        self.cluster.wait_until_synced()
    }

    fn mend(&mut self) -> Result<(), String> {
        match self.killed.take() {
            Some(number) => self.cluster.rejoin(number),
            None => Ok(()),
        }
    }

    fn stop(self: Box<Self>) -> Result<(), String> {
        self.cluster.stop()
    }
}

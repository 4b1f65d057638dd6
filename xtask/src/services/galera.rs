//! A private Galera cluster: three MariaDBs on the loopback interface that hold the same data.
//!
//! Each is a primary. A commit that loses against another node's is refused at COMMIT, and a read may be
//! behind what another node has answered, unless `wsrep_sync_wait` is set.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::MariaDb;
use super::ports::free_port;
use crate::packages;

const NODES: usize = 3;

/// How long all may take to be in step: a node that copies everything, or one that waits until the others
/// have noticed that it was gone.
const SYNC_MAX: Duration = Duration::from_secs(120);

const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";

/// A running cluster; dropped, its nodes are stopped and their folders removed.
pub(crate) struct Galera {
    nodes: Vec<MariaDb>,
}

impl Galera {
    /// Installs what is absent, starts a first node and has the others copy it.
    pub(crate) fn start() -> Result<Self, String> {
        let provider = provider()?;
        let ports = (0..NODES).map(|_| Ports::free()).collect::<Result<Vec<_>, _>>()?;
        let made = ports.iter().map(|own| MariaDb::empty(settings(&provider, own, &ports)));
        let mut cluster = Galera { nodes: made.collect::<Result<Vec<_>, _>>()? };
        let (first, others) = cluster.nodes.split_first_mut().expect("a cluster has nodes");
        first.initialise()?;
        first.launch(&["--wsrep-new-cluster"])?;
        first.wait_until_ready()?;
        first.admit_clients()?;
        for node in others {
            node.make_data_folder()?;
            node.launch(&[])?;
        }
        cluster.wait_until_synced()?;
        Ok(cluster)
    }

    /// For clients of each node over TCP.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(MariaDb::url).collect()
    }

    pub(crate) fn node(&self, number: usize) -> &MariaDb {
        &self.nodes[number]
    }

    /// `kill -9` of one node.
    pub(crate) fn kill(&mut self, number: usize) -> Result<(), String> {
        self.nodes[number].kill()
    }

    /// Starts a killed node again and waits until it has what it missed.
    pub(crate) fn rejoin(&mut self, number: usize) -> Result<(), String> {
        let node = &mut self.nodes[number];
        let position = recovered_position(node)?;
        node.launch(&[&format!("--wsrep-start-position={position}")])?;
        self.wait_until_synced()
    }

    /// Waits until all nodes that run know of each other and of nobody else, and hold the same.
    pub(crate) fn wait_until_synced(&self) -> Result<(), String> {
        let running = || self.nodes.iter().filter(|node| node.daemon().is_running());
        let expected = format!("Synced {} Primary ON", running().count());
        for node in running() {
            node.daemon().wait_until("come into step", SYNC_MAX, || match state(node)? {
                found if found == expected => Ok(()),
                found => Err(format!("it says {found:?} where {expected:?} is expected")),
            })?;
        }
        Ok(())
    }

    /// Stops all nodes, at the same time, and says whether that went well.
    pub(crate) fn stop(self) -> Result<(), String> {
        let stopped: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let stopping: Vec<_> =
                self.nodes.into_iter().map(|node| scope.spawn(move || node.stop())).collect();
            stopping.into_iter().map(super::joined).collect()
        });
        stopped.into_iter().collect()
    }
}

/// Where a node listens beside its port for clients.
struct Ports {
    group: u16,
    /// For what a node missed.
    missed: u16,
    /// For a copy of everything.
    copy: u16,
}

impl Ports {
    fn free() -> Result<Self, String> {
        Ok(Ports { group: free_port()?, missed: free_port()?, copy: free_port()? })
    }
}

fn settings(provider: &Path, own: &Ports, all: &[Ports]) -> Vec<String> {
    let Ports { group, missed, copy } = own;
    let addresses: Vec<String> = all.iter().map(|ports| format!("127.0.0.1:{}", ports.group)).collect();
    vec![
        "--wsrep-on=ON".to_string(),
        format!("--wsrep-provider={}", provider.display()),
        "--wsrep-cluster-name=purser".to_string(),
        format!("--wsrep-cluster-address=gcomm://{}", addresses.join(",")),
        format!("--wsrep-node-name=node_{group}"),
        format!("--wsrep-node-address=127.0.0.1:{group}"),
        "--wsrep-sst-method=rsync".to_string(),
        format!("--wsrep-sst-receive-address=127.0.0.1:{copy}"),
        format!(
            "--wsrep-provider-options=base_host=127.0.0.1;base_port={group};\
             gmcast.listen_addr=tcp://127.0.0.1:{group};ist.recv_addr=127.0.0.1:{missed}"
        ),
        "--binlog-format=ROW".to_string(),
        "--innodb-autoinc-lock-mode=2".to_string(),
    ]
}

/// What a node says of itself, in one line.
fn state(node: &MariaDb) -> Result<String, String> {
    let printed = node.query(
        "SHOW STATUS WHERE Variable_name IN
         ('wsrep_local_state_comment', 'wsrep_cluster_size', 'wsrep_cluster_status', 'wsrep_ready')",
    )?;
    Ok(state_of(&printed))
}

fn state_of(printed: &str) -> String {
    let value = |name: &str| {
        let found = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        found.unwrap_or("?").to_string()
    };
    ["wsrep_local_state_comment", "wsrep_cluster_size", "wsrep_cluster_status", "wsrep_ready"]
        .map(value)
        .join(" ")
}

/// Up to where the data of a killed node goes, so that it asks only for what it missed. Without it, the
/// node would copy everything, as its own note of it was not written.
fn recovered_position(node: &MariaDb) -> Result<String, String> {
    let log = node.daemon().folder().join("recovery.log");
    let mut recover = node.server();
    recover.arg("--wsrep-recover").arg(format!("--log-error={}", log.display()));
    node.daemon().prepare(recover)?;
    let said = fs::read_to_string(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    position_in(&said).ok_or_else(|| format!("--wsrep-recover says no position:\n{said}"))
}

fn position_in(said: &str) -> Option<String> {
    let found = said.lines().rev().find_map(|line| line.split("Recovered position:").nth(1))?;
    Some(found.trim().to_string())
}

fn provider() -> Result<PathBuf, String> {
    let find = || {
        let provider = PathBuf::from(PROVIDER);
        (provider.is_file() && packages::find_program("rsync").is_some()).then_some(provider)
    };
    packages::find_or_install(find, &["mariadb-server", "galera-4", "rsync"], "Galera with rsync")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_ports_of_its_own_and_knows_all_the_others() {
        let ports = [
            Ports { group: 1, missed: 2, copy: 3 },
            Ports { group: 4, missed: 5, copy: 6 },
            Ports { group: 7, missed: 8, copy: 9 },
        ];
        let settings = settings(Path::new("/provider.so"), &ports[1], &ports).join("\n");
        for expected in [
            "--wsrep-provider=/provider.so\n",
            "gcomm://127.0.0.1:1,127.0.0.1:4,127.0.0.1:7\n",
            "base_port=4;gmcast.listen_addr=tcp://127.0.0.1:4;ist.recv_addr=127.0.0.1:5\n",
            "--wsrep-sst-receive-address=127.0.0.1:6\n",
        ] {
            assert!(settings.contains(expected), "{expected}: {settings}");
        }
    }

    #[test]
    fn the_state_of_a_node_is_read_whatever_its_order() {
        let printed = "wsrep_cluster_size\t3\nwsrep_cluster_status\tPrimary\n\
                       wsrep_local_state_comment\tSynced\nwsrep_ready\tON";
        assert_eq!(state_of(printed), "Synced 3 Primary ON");
        assert_eq!(state_of(""), "? ? ? ?");
    }

    #[test]
    fn the_position_of_a_killed_node_is_read_from_what_it_says() {
        let said = "2026-11-24 [Note] InnoDB: ready\n2026-11-24 [Note] WSREP: Recovered position: 1f0e:42,0-1-7\nbye\n";
        assert_eq!(position_in(said).as_deref(), Some("1f0e:42,0-1-7"));
        assert_eq!(position_in("nothing"), None);
    }
}

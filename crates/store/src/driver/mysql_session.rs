//! How a session with MariaDB or MySQL is set up, and what is asked of the server before it is used.

use super::target::{Target, Tls};
use super::{LOCK_MAX, STATEMENT_MAX};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts, OptsBuilder, SslOpts};

/// Statements that a connection keeps prepared: the cold ones.
const STATEMENTS_KEPT: usize = 128;

/// The words that begin a transaction that writes.
pub(crate) const BEGIN_WRITING: &str = "START TRANSACTION READ WRITE";
/// The words that begin a transaction that reads one snapshot. Somebody may verify a large ledger: between two of its
/// questions it computes, so it may be idle for longer than a transaction that holds locks.
pub(crate) const BEGIN_READING: &str = "
    SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
    SET SESSION wait_timeout = 28800 /*M!, idle_readonly_transaction_timeout = 60 */;
    START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
/// The words that keep a transaction that says nothing for as long as a migration takes.
pub(crate) const STAY_IDLE: &str = "
    SET SESSION wait_timeout = 28800 /*M!, idle_readonly_transaction_timeout = 0, idle_write_transaction_timeout = 0 */";
/// The words before a migration, which may take as long as it takes.
pub(super) const BE_PATIENT: &str = "SET SESSION wait_timeout = 28800 /*M!, max_statement_time = 0 */";

const FACTS: &str = "
    SELECT @@max_allowed_packet, CAST(@@global.read_only AS CHAR(20)) NOT IN ('0', 'OFF'), VERSION() LIKE '%MariaDB%'";
/// No row where the server commits by itself. Galera's nodes and those of a group of MySQL's take part in a cluster.
const IN_CLUSTER: &str = "
    SHOW VARIABLES WHERE Variable_name = 'wsrep_on' AND Value = 'ON'
                      OR Variable_name = 'group_replication_group_name' AND Value <> ''";
/// Every transaction waits until the database node has applied what its cluster committed before. After a fail-over nobody
/// takes what is under way for what was lost; and while services write to different nodes of the cluster (one was away, came
/// back, and is the first host again for whoever connects anew) none refuses what another has just acknowledged.
const CATCH_UP: &str = "SET SESSION wsrep_sync_wait = 1; SELECT 1";

/// What a server says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    /// The longest text that it takes, in bytes.
    pub(super) packet_max: usize,
    /// Nothing can be written there: a replica, or a server that was just succeeded.
    pub(super) read_only: bool,
    /// MariaDB, not MySQL.
    pub(super) is_mariadb: bool,
    /// Other nodes of a cluster write as well, and undo what is under way here where it is in their way.
    pub(super) in_cluster: bool,
}

/// Connects to one host and asks it.
pub(super) async fn connect(opts: Opts) -> Result<(Conn, Facts), Error> {
    let mut conn = Conn::new(opts).await?;
    let (packet_max, read_only, is_mariadb) =
        conn.query_first(FACTS).await?.unwrap_or((1_048_576, false, true));
    let cluster: Option<(String, String)> = conn.query_first(IN_CLUSTER).await?;
    if cluster.as_ref().is_some_and(|(name, _)| name == "wsrep_on") {
        let caught_up = conn.query_drop(CATCH_UP).await;
        // Another node may be in step where this one is not.
        caught_up
            .map_err(|error| Error::Other(format!("it is not in step with its cluster: {error}").into()))?;
    }
    Ok((conn, Facts { packet_max, read_only, is_mariadb, in_cluster: cluster.is_some() }))
}

/// How to reach a host, and what holds for the whole session.
pub(super) fn options(target: &Target, host: &str, port: u16) -> Opts {
    let (lock, statement) = (LOCK_MAX.as_secs(), STATEMENT_MAX.as_secs());
    let session = [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_string(),
        // The zone plays no part then: not even in the hour that a zone with summer time has twice. MariaDB limits every
        // statement and how long a transaction may be idle, so that the locks of a node that fell silent come free; MySQL can
        // only end an idle session.
        format!(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY', \
             time_zone = '+00:00', innodb_lock_wait_timeout = {lock}, lock_wait_timeout = {lock}, \
             wait_timeout = 28800 /*!80000 , wait_timeout = 300 */ /*M!, max_statement_time = {statement}, \
             idle_write_transaction_timeout = {statement}, idle_readonly_transaction_timeout = {statement} */"
        ),
    ];
    let mut options = OptsBuilder::default()
        .user(Some(&target.user))
        .pass(target.password.as_deref())
        .db_name(Some(&target.database))
        .setup(session.to_vec())
        .stmt_cache_size(STATEMENTS_KEPT)
        .prefer_socket(false)
        .tcp_nodelay(true);
    options = if host.starts_with('/') {
        options.socket(Some(host))
    } else {
        options.ip_or_hostname(host).tcp_port(port)
    };
    let encrypted = match (target.tls, &target.root_certificates) {
        (Tls::Off, _) => None,
        (Tls::Required, _) => Some(
            SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
        (Tls::Verified, Some(file)) => Some(
            SslOpts::default().with_root_certs(vec![file.clone().into()]).with_disable_built_in_roots(true),
        ),
        (Tls::Verified, None) => Some(SslOpts::default()),
    };
    options.ssl_opts(encrypted).into()
}

//! The third-party check of the API: schemathesis reads `/openapi.json` of a running server, asks
//! everything it can think of, and compares the answers with what the document promises.

use std::path::Path;
use std::process::Command;

use crate::server::Server;
use crate::{python, step};

/// The version whose options and checks are written below.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";

/// What must hold of every answer.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// How many cases each operation gets; together a few minutes on two cores.
const EXAMPLES: &str = "60";

/// Starts `program`, makes a key, and runs schemathesis against it.
pub(crate) fn run(target: &Path, program: &Path) -> Result<(), String> {
    let environment = python::environment(&target.join("tools"), "schemathesis", SCHEMATHESIS)?;
    let schemathesis = environment.join("bin/schemathesis");
    let server = Server::start(program)?;
    let key = server.key("check")?;
    let url = format!("http://{}/openapi.json", server.address);
    let mut command = Command::new(schemathesis);
    command.args(["run", &url, "--checks", CHECKS, "--max-examples", EXAMPLES, "--continue-on-failure"]);
    command.args(["--header", &format!("Authorization: Bearer {key}"), "--seed", "1", "--no-color"]);
    command.args(["--workers", "2", "--request-timeout", "30", "--generation-database", "none"]);
    command.args(["--warnings", "off", "--suppress-health-check", "all"]);
    // A stream does not end by itself, and the checker waits for the end of an answer.
    command.args(["--exclude-operation-id", "stream_balance"]);
    // A key that is none is 503 to a proxy on purpose: the client behind it must not be asked to log in.
    command.args(["--exclude-path", "/v1/gate"]);
    command.current_dir(target);
    step::run(&mut command).map_err(|error| {
        // The command line holds the key, which lives as long as the temporary database.
        format!("{}; the server's last words:\n{}", error.replace(&key, "psk_…"), server.log_tail())
    })?;
    server.stop()
}

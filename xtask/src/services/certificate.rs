//! A certificate for a private server, and the authority that signed it: so that encrypted connections are tested for real.

use std::path::{Path, PathBuf};

use super::daemon::Daemon;
use crate::packages;

/// What `openssl` is asked, one line a call, in the server's own folder.
const CALLS: [&[&str]; 3] = [
    &[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "3650",
        "-keyout",
        "authority.key",
        "-out",
        "authority.pem",
        "-subj",
        "/CN=private authority",
        "-addext",
        "basicConstraints=critical,CA:TRUE",
    ],
    &[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        "server.key",
        "-out",
        "server.request",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
    ],
    &[
        "x509",
        "-req",
        "-in",
        "server.request",
        "-CA",
        "authority.pem",
        "-CAkey",
        "authority.key",
        "-CAcreateserial",
        "-days",
        "3650",
        "-copy_extensions",
        "copy",
        "-out",
        "server.pem",
    ],
];

/// Makes them; `server.pem` and `server.key` lie in the server's folder then.
pub(super) fn make(daemon: &Daemon) -> Result<(), String> {
    let openssl = packages::find_or_install(|| packages::find_program("openssl"), &["openssl"], "openssl")?;
    for arguments in CALLS {
        let mut command = daemon.command(&openssl);
        command.args(arguments);
        daemon.prepare(command)?;
    }
    Ok(())
}

/// The authority that clients may trust.
pub(super) fn authority(folder: &Path) -> PathBuf {
    folder.join("authority.pem")
}

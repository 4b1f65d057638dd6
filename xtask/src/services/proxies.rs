//! nginx and Caddy, behind which the tests of the gate put their files: Debian's, installed where they are absent. Each test
//! starts its own.

use crate::packages;

/// Programs, each in a package of its name.
const PROGRAMS: [&str; 2] = ["nginx", "caddy"];

/// Installs those that are absent.
pub(crate) fn install() -> Result<(), String> {
    for program in PROGRAMS {
        packages::find_or_install(|| packages::find_program(program), &[program], program)?;
    }
    Ok(())
}

//! `purser openapi`: prints the API document, as it is served and committed.

use std::process::ExitCode;

use super::{CommandError, Context};
use crate::http::{docs, router};

/// Prints it.
pub async fn run(context: Context) -> Result<ExitCode, CommandError> {
    let document = router::document();
    context.print(&document, |document| docs::text(document).trim_end().to_string())?;
    Ok(ExitCode::SUCCESS)
}

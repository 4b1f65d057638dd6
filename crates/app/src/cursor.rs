//! The cursor of events: how far a reader has come with each writer. It is concealed, as it would tell anybody how much is written,
//! and bound to the database and to the tenant whose key read: positions of another database mean other entries.

use crate::App;
use crate::caller::Caller;
use crate::error::AppError;
use crate::parse::field;
use crate::signed::{Content, Parts};
use purser_store::{Heads, Position};

/// The first byte of what a cursor carries.
const VERSION: u8 = 1;
const PURPOSE: &str = "events cursor";

impl App {
    /// The cursor of a caller who has come so far.
    pub(crate) fn cursor(&self, caller: &Caller, reached: &Heads) -> String {
        let content = Content::default()
            .fixed(&[VERSION])
            .fixed(&self.inner.ledger_id.to_be_bytes())
            .option(tenant_of(caller).map(str::as_bytes));
        let content = reached
            .written()
            .fold(content, |content, head| content.fixed(&[head.slot()]).fixed(&head.seq().to_be_bytes()));
        self.inner.secrets.conceal(PURPOSE, self.inner.ids.bytes(), content.bytes())
    }

    /// How far the holder of a cursor has come.
    ///
    /// # Errors
    /// It was not given to this caller, or by another database.
    pub(crate) fn reached_by(&self, caller: &Caller, cursor: &str) -> Result<Heads, AppError> {
        let content = self.inner.secrets.reveal(PURPOSE, cursor);
        let read =
            content.as_deref().and_then(read).filter(|read| read.tenant.as_deref() == tenant_of(caller));
        let Some(read) = read else {
            return Err(field("?cursor", "malformed", "use next_cursor as it was given to this key"));
        };
        if read.ledger_id == self.inner.ledger_id { Ok(read.reached) } else { Err(AppError::CursorUnknown) }
    }
}

/// What a cursor says.
struct Said {
    ledger_id: u64,
    tenant: Option<String>,
    reached: Heads,
}

/// The tenant whose key it is; none for a key of the platform.
fn tenant_of(caller: &Caller) -> Option<&str> {
    caller.tenant.as_ref().map(|(key, _)| key.as_str())
}

fn read(content: &[u8]) -> Option<Said> {
    let mut parts = Parts(content);
    let [VERSION] = parts.fixed()? else { return None };
    let (ledger_id, tenant) = (u64::from_be_bytes(parts.fixed()?), parts.text_option()?);
    let mut reached = Heads::default();
    while !parts.0.is_empty() {
        let ([slot], seq) = (parts.fixed()?, parts.fixed()?);
        reached.set(Position::parse(slot, u64::from_be_bytes(seq))?);
    }
    Some(Said { ledger_id, tenant, reached })
}

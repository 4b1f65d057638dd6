//! Copying: moves a deployment to another database, and says that it did only after it has rebuilt and compared it.
//!
//! Nobody writes to either database meanwhile. What is killed goes on where it was when it is asked for again. The store moves the
//! rows (`transport/`); here is the order of things: take, verify the target from its entries alone, compare every wallet and every
//! count with the source, and only then let the target be served.

use super::verify::{Verified, VerifyError, verify};
use purser_core::id::{Prefix, render};
use purser_store::{CopySource, CopyTarget, DatabaseUrl, Reader, Store, StoreError, StoredWallet};
use std::collections::VecDeque;

/// Wallets compared at a time.
const STEP: usize = 2_048;

/// What a copy is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Rows are moved.
    Copying,
    /// The target is rebuilt from its entries.
    Verifying,
    /// The target is compared with the source, wallet by wallet.
    Comparing,
}

/// What was copied and found right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Entries whose chain and sums are right in the target.
    pub entries: u64,
    /// Wallets that are the same in both.
    pub wallets: u64,
    /// Rows of every table that was copied.
    pub rows: Vec<(&'static str, u64)>,
    /// A digest over the chain heads of all wallets, the same for both.
    pub heads: [u8; 32],
    /// Whether a copy that had not ended went on.
    pub resumed: bool,
    /// What the target must be served with.
    pub secret: Secret,
}

/// Where the secret key is that the target must be served with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Secret {
    /// In the same setting as before.
    AsBefore,
    /// In a file beside the source, whose text is the setting's value from now on.
    Beside(std::path::PathBuf),
}

/// Why a copy did not come about.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A URL cannot be read.
    #[error("{which}: {why}")]
    Url {
        /// `--from` or `--to`.
        which: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A database refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What arrived does not hold. The target stays marked, so that nobody serves it.
    #[error("the copy does not hold: {0}")]
    Broken(VerifyError),
    /// What arrived is not what is in the source. The target stays marked, so that nobody serves it.
    #[error("the copy is not what it was copied from: {what}")]
    Differs {
        /// The first difference.
        what: String,
    },
}

/// Copies the database at `from` into the one at `to`. `heard` hears how many of how many steps of a stage are done.
///
/// # Errors
/// One of them is in use or refuses, or the copy was found wrong.
pub fn copy(
    from: &str,
    to: &str,
    mut heard: impl FnMut(Stage, u64, u64) + Send,
) -> Result<Copied, CopyError> {
    let source_url = parse("--from", from)?;
    let target_url = parse("--to", to)?;
    if source_url == target_url {
        return Err(CopyError::Url { which: "--to", why: "it is the same database as --from".into() });
    }
    let source = CopySource::claim(&source_url)?;
    let target = CopyTarget::claim(&target_url, &source)?;
    target.take(&source, &mut |done, total| heard(Stage::Copying, done, total))?;
    let Verified { entries, wallets } = verify(to, |done, total| heard(Stage::Verifying, done, total))
        .map_err(|error| match error {
            VerifyError::Store(error) => CopyError::Store(error),
            error => CopyError::Broken(error),
        })?;
    let compared = compare(&source, &target_url, wallets, |done| heard(Stage::Comparing, done, wallets))?;
    source.is_unchanged()?;
    let resumed = target.is_resumed();
    target.finish()?;
    let secret = match source_url {
        DatabaseUrl::Sqlite(path) => beside(&path),
        DatabaseUrl::Server(_) => Secret::AsBefore,
    };
    Ok(Copied { entries, wallets, rows: compared.rows, heads: compared.heads, resumed, secret })
}

fn parse(which: &'static str, url: &str) -> Result<DatabaseUrl, CopyError> {
    DatabaseUrl::parse(url).map_err(|why| CopyError::Url { which, why })
}

/// An embedded database that was served with a key of its own has it in a file.
fn beside(database: &std::path::Path) -> Secret {
    let path = crate::secret::path_beside(database);
    if path.exists() { Secret::Beside(path) } else { Secret::AsBefore }
}

struct Compared {
    rows: Vec<(&'static str, u64)>,
    heads: [u8; 32],
}

/// Compares what both databases hold, each in one snapshot.
fn compare(
    source: &CopySource,
    target: &DatabaseUrl,
    wallets: u64,
    mut progress: impl FnMut(u64),
) -> Result<Compared, CopyError> {
    let target = Store::open_reader(target)?;
    let mut outcome = None;
    source.read(|source| {
        target.read(|target| {
            outcome = Some(compare_snapshots(source, target, wallets, &mut progress)?);
            Ok(())
        })
    })?;
    outcome.expect("both snapshots were read")
}

fn compare_snapshots(
    source: &Reader<'_>,
    target: &Reader<'_>,
    wallets: u64,
    progress: &mut impl FnMut(u64),
) -> Result<Result<Compared, CopyError>, StoreError> {
    let differs = |what: String| Ok(Err(CopyError::Differs { what }));
    let (rows, copied) = (source.rows()?, target.rows()?);
    if let Some(((table, before), (_, after))) = rows.iter().zip(&copied).find(|(one, other)| one != other) {
        return differs(format!("table {table} has {after} rows, not {before}"));
    }
    let (mut ours, mut theirs) = (Wallets::default(), Wallets::default());
    let (mut hasher, mut done) = (blake3::Hasher::new(), 0);
    loop {
        match (ours.next(source)?, theirs.next(target)?) {
            (None, None) => break,
            (Some(one), Some(other)) if is_same(&one, &other) => {
                let wallet = &one.loaded.wallet;
                hasher.update(&wallet.key.tenant.0.to_be_bytes()).update(&wallet.key.id.0.to_bytes());
                hasher.update(&wallet.seq.to_be_bytes()).update(&wallet.head);
                done += 1;
                progress(done);
            }
            (Some(one), Some(_) | None) => return differs(format!("wallet {} is not the same", name(&one))),
            (None, Some(other)) => return differs(format!("wallet {} is new", name(&other))),
        }
    }
    if done != wallets {
        return differs(format!("{wallets} wallets were verified, {done} compared"));
    }
    Ok(Ok(Compared { rows, heads: *hasher.finalize().as_bytes() }))
}

/// Whether state, chain head and age are the same; positions may be others.
fn is_same(one: &StoredWallet, other: &StoredWallet) -> bool {
    one.loaded.wallet == other.loaded.wallet && one.created_at == other.created_at
}

fn name(wallet: &StoredWallet) -> String {
    let key = wallet.loaded.wallet.key;
    render(Prefix::Wallet, key.tenant, key.id.0)
}

/// All wallets of a database in the order of their keys, read a step at a time.
#[derive(Default)]
struct Wallets {
    read: VecDeque<StoredWallet>,
    last: Option<purser_core::WalletKey>,
}

impl Wallets {
    fn next(&mut self, reader: &Reader<'_>) -> Result<Option<StoredWallet>, StoreError> {
        if self.read.is_empty() {
            self.read = reader.every_wallet(self.last, STEP)?.into();
            self.last = self.read.back().map(|wallet| wallet.loaded.wallet.key).or(self.last);
        }
        Ok(self.read.pop_front())
    }
}

//! (being written)
use super::super::{KeyDigest, StoredAnswer};
use super::lease::Seal;
use super::loaded::{Opened, WalletRows, Wanted};
use super::pending::Pending;
use crate::driver::mysql::MysqlLink;
use crate::error::{CommitError, StoreError};
use purser_core::WalletKey;

pub(super) fn open(_: &MysqlLink, _: u8, _: &Wanted) -> Result<Opened, StoreError> {
    todo!()
}
pub(super) fn wallets(_: &MysqlLink, _: &[WalletKey]) -> Result<WalletRows, StoreError> {
    todo!()
}
pub(super) fn answers(_: &MysqlLink, _: &[KeyDigest]) -> Result<Vec<(KeyDigest, StoredAnswer)>, StoreError> {
    todo!()
}
pub(super) fn record(_: &MysqlLink, _: &Pending, _: &Seal) -> Result<(), CommitError> {
    todo!()
}

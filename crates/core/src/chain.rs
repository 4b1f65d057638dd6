//! The hash chain of a wallet: what makes a changed, removed or inserted entry visible.
//!
//! Each entry's hash is BLAKE3 over a canonical encoding of everything the entry says and the hash before it. The
//! first entry follows a hash of the wallet's identity, so entries cannot be moved to another wallet. Reference,
//! metadata and reason enter as a salted digest only, so that they can be erased without breaking the chain.

use crate::catalogue::Unit;
use crate::codec::{Writer, encode_allocations, encode_terms};
use crate::entry::{Digest, Entry};
use crate::wallet::WalletKey;

/// The version of the canonical encoding; the first byte of every hashed entry.
pub const VERSION: u8 = 1;

/// The hash that the first entry of a wallet follows.
pub fn genesis(wallet: WalletKey, unit: &Unit) -> Digest {
    let mut out = Writer::with_capacity(96);
    out.raw(b"purser chain");
    out.u8(VERSION);
    out.u64(wallet.tenant.0);
    out.u128(wallet.id.0.0);
    out.text(unit.code.as_str());
    out.u8(unit.scale.decimals());
    *blake3::hash(&out.bytes).as_bytes()
}

/// The hash of `entry`, given the hash of the one before. The entry's own `hash` field plays no part.
pub fn hash(previous: &Digest, entry: &Entry) -> Digest {
    seal(previous, entry, &encode_allocations(&entry.allocations), &encode_terms(&entry.terms))
}

/// The same, from allocations and terms that are encoded already.
pub fn seal(previous: &Digest, entry: &Entry, allocations: &[u8], terms: &[u8]) -> Digest {
    let mut out = Writer::with_capacity(192 + allocations.len() + terms.len());
    out.u8(VERSION);
    out.raw(previous);
    out.u64(entry.wallet.tenant.0);
    out.u128(entry.wallet.id.0.0);
    out.u64(entry.seq);
    out.u8(entry.kind as u8);
    out.u128(entry.subject.0);
    out.i64(entry.amount.0);
    out.i64(entry.held_delta.0);
    out.i64(entry.settled_after.0);
    out.option(entry.user, |out, user| out.u64(user.0));
    out.u8(entry.actor.kind as u8);
    out.u64(entry.actor.no);
    out.i64(entry.occurred_at.0);
    out.i64(entry.recorded_at.0);
    out.option(entry.text_digest, |out, digest| out.raw(&digest));
    out.count(allocations.len());
    out.raw(allocations);
    out.count(terms.len());
    out.raw(terms);
    *blake3::hash(&out.bytes).as_bytes()
}

/// The salted digest of an entry's personal text.
pub fn text_digest(salt: &[u8; 16], text: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"purser text 1").update(salt).update(text);
    *hasher.finalize().as_bytes()
}

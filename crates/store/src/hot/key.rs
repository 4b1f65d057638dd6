//! What an idempotency key is stored and looked up by.

use crate::error::StoreError;
use purser_core::TenantNo;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Bytes of the key itself.
const LEAD: usize = 12;
/// Bytes of the digest.
const DIGEST: usize = 16;

/// The first bytes of an idempotency key, and the first 16 bytes of BLAKE3 over tenant and key. The digest names the key; the
/// lead keeps keys that begin with a time (UUIDv7) in the order of that time, where a database has an index of them. Two are
/// equal when they name the same key, whatever is known of its lead.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; LEAD + DIGEST]);

impl KeyDigest {
    /// The digest of a tenant's key.
    pub fn of(tenant: TenantNo, key: &str) -> KeyDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&tenant.0.to_be_bytes()).update(key.as_bytes());
        let mut bytes = [0; LEAD + DIGEST];
        let lead = key.len().min(LEAD);
        bytes[..lead].copy_from_slice(&key.as_bytes()[..lead]);
        bytes[LEAD..].copy_from_slice(&hasher.finalize().as_bytes()[..DIGEST]);
        KeyDigest(bytes)
    }

    /// The same key as it is stored where its lead is not known: answers that were copied from an embedded database, which
    /// keeps digests only. No key begins with a zero byte.
    pub(crate) fn without_lead(&self) -> KeyDigest {
        KeyDigest::from_digest(self.digest())
    }

    /// A key of which only the digest is known.
    pub(crate) fn from_digest(digest: [u8; DIGEST]) -> KeyDigest {
        let mut bytes = [0; LEAD + DIGEST];
        bytes[LEAD..].copy_from_slice(&digest);
        KeyDigest(bytes)
    }

    /// Lead and digest.
    pub(crate) fn bytes(&self) -> &[u8; LEAD + DIGEST] {
        &self.0
    }

    /// From lead and digest, as stored.
    pub(crate) fn from_bytes(bytes: [u8; LEAD + DIGEST]) -> KeyDigest {
        KeyDigest(bytes)
    }

    /// The digest alone, which is uniform.
    pub(crate) fn digest(&self) -> [u8; DIGEST] {
        let (_, digest) = self.0.split_last_chunk::<DIGEST>().expect("it is longer than a digest");
        *digest
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &KeyDigest) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for KeyDigest {}

impl PartialOrd for KeyDigest {
    fn partial_cmp(&self, other: &KeyDigest) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyDigest {
    fn cmp(&self, other: &KeyDigest) -> Ordering {
        self.digest().cmp(&other.digest())
    }
}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest().hash(state);
    }
}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.digest()))
    }
}

/// A key as it was stored by one database, as another one stores it: an embedded one keeps digests only.
pub(crate) fn stored_key(bytes: &[u8], digest_only: bool) -> Result<Vec<u8>, StoreError> {
    let key = match (bytes.try_into(), bytes.try_into()) {
        (Ok(digest), _) => KeyDigest::from_digest(digest),
        (_, Ok(both)) => KeyDigest::from_bytes(both),
        (Err(_), Err(_)) => {
            let what = format!("the key of an answer has {} bytes", bytes.len());
            return Err(StoreError::Corrupt { what });
        }
    };
    Ok(if digest_only { key.digest().to_vec() } else { key.bytes().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_whatever_is_known_of_its_lead() {
        let key = KeyDigest::of(TenantNo(1), "018f-0001");
        let copied = key.without_lead();
        assert_eq!(key, copied);
        assert_ne!(key.bytes(), copied.bytes());
        assert_eq!(copied.bytes()[..LEAD], [0; LEAD]);
        assert_ne!(key, KeyDigest::of(TenantNo(2), "018f-0001"), "the digest covers the tenant");
        let digest = stored_key(key.bytes(), true).expect("a key");
        assert_eq!(digest, key.digest());
        assert_eq!(stored_key(key.bytes(), false).expect("a key"), key.bytes());
        assert_eq!(stored_key(&digest, false).expect("a key"), copied.bytes());
        assert!(stored_key(&digest[1..], true).is_err());
    }
}

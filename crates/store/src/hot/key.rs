//! What an idempotency key is stored and looked up by.

use purser_core::TenantNo;

/// Bytes of the key itself.
const LEAD: usize = 12;
/// Bytes of the digest.
const DIGEST: usize = 16;

/// The first bytes of an idempotency key, and the first 16 bytes of BLAKE3 over tenant and key. The digest names the key; the
/// lead keeps keys that begin with a time (UUIDv7) in the order of that time, where a database has an index of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.digest()))
    }
}

//! Answers to idempotency keys.

use purser_core::TenantNo;

/// The first 16 bytes of BLAKE3 over tenant and idempotency key: what a key is stored and looked up by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest(pub [u8; 16]);

impl KeyDigest {
    /// The digest of a tenant's key.
    pub fn of(tenant: TenantNo, key: &str) -> KeyDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&tenant.0.to_be_bytes()).update(key.as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        KeyDigest(digest)
    }
}

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// What was answered to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredAnswer {
    /// Digest of the request that was answered: another one under the same key is refused.
    pub request_digest: [u8; 32],
    /// The receipt, encoded.
    pub receipt: Vec<u8>,
}

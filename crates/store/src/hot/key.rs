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
        KeyDigest::with_lead(key, &hasher)
    }

    /// The digest of an event that names itself by its source and its id there. The lead is the time of an id that is a UUID
    /// of version 7, and zeros of any other: what is kept for ever says nothing that may be personal.
    pub fn of_event(tenant: TenantNo, source: &str, id: &str) -> KeyDigest {
        let mut hasher = blake3::Hasher::new();
        // The length keeps the source from running into the id.
        hasher.update(&tenant.0.to_be_bytes()).update(&(source.len() as u64).to_be_bytes());
        hasher.update(source.as_bytes()).update(id.as_bytes());
        KeyDigest::with_lead(time_of(id), &hasher)
    }

    fn with_lead(lead: &str, hasher: &blake3::Hasher) -> KeyDigest {
        let mut bytes = [0; LEAD + DIGEST];
        let length = lead.len().min(LEAD);
        bytes[..length].copy_from_slice(&lead.as_bytes()[..length]);
        bytes[LEAD..].copy_from_slice(&hasher.finalize().as_bytes()[..DIGEST]);
        KeyDigest(bytes)
    }

    /// The same key as it is stored where its lead is not known. No key begins with a zero byte.
    pub(crate) fn without_lead(&self) -> KeyDigest {
        let mut bytes = self.0;
        bytes[..LEAD].fill(0);
        KeyDigest(bytes)
    }

    /// A key as an embedded database has it: its first versions stored digests alone, without a lead.
    pub(crate) fn from_stored(bytes: &[u8]) -> Result<KeyDigest, StoreError> {
        if let Ok(both) = bytes.try_into() {
            return Ok(KeyDigest(both));
        }
        let digest: [u8; DIGEST] = bytes.try_into().map_err(|_| StoreError::Corrupt {
            what: format!("the key of an answer has {} bytes", bytes.len()),
        })?;
        let mut both = [0; LEAD + DIGEST];
        both[LEAD..].copy_from_slice(&digest);
        Ok(KeyDigest(both))
    }

    /// Lead and digest.
    pub(crate) fn bytes(&self) -> &[u8; LEAD + DIGEST] {
        &self.0
    }

    /// From lead and digest, as stored.
    pub(crate) fn from_bytes(bytes: [u8; LEAD + DIGEST]) -> KeyDigest {
        KeyDigest(bytes)
    }

    /// The first bytes of the key, zeros after its end; all zeros where it is not known.
    pub(crate) fn lead(&self) -> [u8; LEAD] {
        let (lead, _) = self.0.split_first_chunk::<LEAD>().expect("it is longer than a lead");
        *lead
    }

    /// The digest alone, which is uniform.
    pub(crate) fn digest(&self) -> [u8; DIGEST] {
        let (_, digest) = self.0.split_last_chunk::<DIGEST>().expect("it is longer than a digest");
        *digest
    }
}

/// The beginning of an id that is a UUID of version 7: the time at which it was made. Nothing of any other id, as what an id says may
/// be personal and its row is kept for ever.
fn time_of(id: &str) -> &str {
    let is_made_so = |(place, byte): (usize, u8)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        14 => byte == b'7',
        19 => matches!(byte, b'8' | b'9' | b'a' | b'b' | b'A' | b'B'),
        _ => byte.is_ascii_hexdigit(),
    };
    if id.len() == 36 && id.bytes().enumerate().all(is_made_so) { &id[..LEAD] } else { "" }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_tenant_source_and_id_each_for_itself() {
        let event = KeyDigest::of_event(TenantNo(1), "/shop", "a1");
        assert_eq!(event, KeyDigest::of_event(TenantNo(1), "/shop", "a1"));
        for other in [(2, "/shop", "a1"), (1, "/shopa", "1"), (1, "/sho", "pa1"), (1, "/shop", "a2")] {
            assert_ne!(event, KeyDigest::of_event(TenantNo(other.0), other.1, other.2), "{other:?}");
        }
    }

    #[test]
    fn of_the_id_of_an_event_nothing_is_kept_but_the_time_of_a_uuid() {
        let lead = |id: &str| KeyDigest::of_event(TenantNo(1), "/shop", id).lead();
        assert_eq!(&lead("018f2c1e-7a3b-7def-8123-456789abcdef"), b"018f2c1e-7a3");
        let others = [
            "ann@example.org",
            "order-4711",
            // A number of a person, and UUIDs that begin with chance or with nothing that is known.
            "19850412-1234",
            "19850412-1234-4def-8123-456789abcdef",
            "018f2c1e-7a3b-7def-c123-456789abcdef",
            "018f2c1e-7a3b-7def-8123-456789abcdef ",
            "018f2c1e-7a3b-7def-8123-456789abcdeg",
            "018f2c1e-7a",
            "é18f2c1e-7a3b-7def-8123-456789abcde",
        ];
        for id in others {
            assert_eq!(lead(id), [0; LEAD], "{id}");
        }
    }

    #[test]
    fn a_key_is_the_same_whatever_is_known_of_its_lead() {
        let key = KeyDigest::of(TenantNo(1), "018f-0001");
        let copied = key.without_lead();
        assert_eq!(key, copied);
        assert_ne!(key.bytes(), copied.bytes());
        assert_eq!(copied.bytes()[..LEAD], [0; LEAD]);
        assert_ne!(key, KeyDigest::of(TenantNo(2), "018f-0001"), "the digest covers the tenant");
        let stored = |bytes: &[u8]| KeyDigest::from_stored(bytes);
        assert_eq!(stored(key.bytes()).expect("both").bytes(), key.bytes());
        assert_eq!(stored(&key.digest()).expect("the digest alone").bytes(), copied.bytes());
        assert!(stored(&key.digest()[1..]).is_err());
    }
}

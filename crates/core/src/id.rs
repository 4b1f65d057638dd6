//! Identity of stored things: 128-bit time-ordered ids inside a tenant, and their public text.
//!
//! The public form is a prefix and base32 of `tenant_no ‖ id`, so an id names its tenant without a look-up. Ids are
//! made by the caller's id source (48 bits of milliseconds, 64 random bits, 16 zero bits); the zero bits are
//! room for things a decision has to name by itself (child lots of a transfer), so `decide` needs no randomness.

use std::fmt;

/// A random 64-bit number of a tenant: the first part of every hot key. Never shown on its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantNo(pub u64);

/// A random 64-bit number that stands for a user in the ledger; the user's key, name and e-mail can be erased.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserNo(pub u64);

/// A 128-bit id inside one tenant, ordered by the millisecond it was made in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u128);

/// How many ids a decision may derive from one fresh id.
pub const DERIVED_MAX: usize = 0xffff;

impl Id {
    /// Builds an id from a time in milliseconds and 64 random bits; the low 16 bits stay zero for [`Id::derived`].
    pub fn new(millis: u64, random: u64) -> Id {
        Id(u128::from(millis & 0xffff_ffff_ffff) << 80 | u128::from(random) << 16)
    }

    /// The `index`-th id (from 1) that belongs to this fresh one.
    ///
    /// # Panics
    /// If `index` is 0 or above [`DERIVED_MAX`]: the caller limits how many things one decision makes.
    pub fn derived(self, index: usize) -> Id {
        assert!((1..=DERIVED_MAX).contains(&index), "a decision derives at most {DERIVED_MAX} ids");
        Id(self.0 & !0xffff | index as u128)
    }

    /// The millisecond since 1970 that it was made in.
    pub fn millis(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The sixteen bytes, most significant first, so that byte order is time order.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id with these sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Id {
        Id(u128::from_be_bytes(bytes))
    }
}

/// A lot is named by the grant that made it, or by an id derived from the movement that made it.
pub type LotId = Id;
/// A dispute, refund of money or other outside cause of freezes and reversals.
pub type CauseId = Id;
/// One version of an action's price.
pub type PriceId = Id;
/// An entry's public id: its millisecond and the first 80 bits of its hash, so it needs no index of its own.
pub type EntryId = Id;

/// A wallet's id: derived from (tenant, owner, unit), so that two nodes which meet a user for the first time
/// name the same wallet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalletId(pub Id);

/// The prefix of a public id: what kind of thing it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Prefix {
    /// `wal_`
    Wallet,
    /// `ent_`
    Entry,
    /// `gra_`: a grant
    Grant,
    /// `lot_`
    Lot,
    /// `deb_`: a debit; a captured hold's debit has the hold's number
    Debit,
    /// `hol_`: a hold
    Hold,
    /// `tra_`: a transfer
    Transfer,
    /// `pri_`: a price version
    Price,
    /// `ref_`: a refund of a debit
    Refund,
    /// `rev_`: a revocation of a grant
    Revocation,
    /// `lim_`: a limit
    Limit,
    /// `dis_`: a tenant's discount
    Discount,
    /// `quo_`: a quote
    Quote,
}

impl Prefix {
    /// The text before the underscore's payload, underscore included.
    pub fn text(self) -> &'static str {
        match self {
            Prefix::Wallet => "wal_",
            Prefix::Entry => "ent_",
            Prefix::Grant => "gra_",
            Prefix::Lot => "lot_",
            Prefix::Debit => "deb_",
            Prefix::Hold => "hol_",
            Prefix::Transfer => "tra_",
            Prefix::Price => "pri_",
            Prefix::Refund => "ref_",
            Prefix::Revocation => "rev_",
            Prefix::Limit => "lim_",
            Prefix::Discount => "dis_",
            Prefix::Quote => "quo_",
        }
    }
}

/// Crockford's alphabet in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 24 bytes in 5-bit digits, the last one padded with zero bits.
const DIGITS: usize = 39;

/// The public text of an id: `prefix` and base32 of `tenant ‖ id`.
pub fn render(prefix: Prefix, tenant: TenantNo, id: Id) -> String {
    let mut bytes = [0u8; 25];
    bytes[..8].copy_from_slice(&tenant.0.to_be_bytes());
    bytes[8..24].copy_from_slice(&id.to_bytes());
    let mut text = String::with_capacity(prefix.text().len() + DIGITS);
    text.push_str(prefix.text());
    for digit in 0..DIGITS {
        let bit = digit * 5;
        let pair = u16::from_be_bytes([bytes[bit / 8], bytes[bit / 8 + 1]]);
        text.push(ALPHABET[usize::from(pair >> (11 - bit % 8) & 31)] as char);
    }
    text
}

/// Reads a public id back. `None` when the prefix, length, alphabet or padding is wrong, so that each id has one text.
pub fn parse(prefix: Prefix, text: &str) -> Option<(TenantNo, Id)> {
    let digits = text.strip_prefix(prefix.text())?.as_bytes();
    if digits.len() != DIGITS {
        return None;
    }
    let mut bytes = [0u8; 25];
    for (index, digit) in digits.iter().enumerate() {
        let value = ALPHABET.iter().position(|c| c == digit)? as u16;
        let bit = index * 5;
        let pair = value << (11 - bit % 8);
        bytes[bit / 8] |= (pair >> 8) as u8;
        bytes[bit / 8 + 1] |= pair as u8;
    }
    if bytes[24] != 0 {
        return None;
    }
    let (tenant, id) = bytes[..24].split_at(8);
    Some((
        TenantNo(u64::from_be_bytes(tenant.try_into().expect("eight bytes were split off"))),
        Id::from_bytes(id.try_into().expect("sixteen bytes remain")),
    ))
}

impl fmt::Debug for TenantNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenant:{:x}", self.0)
    }
}

impl fmt::Debug for UserNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user:{:x}", self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for WalletId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wallet:{:x}", self.0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_from_its_text_and_only_from_its_own_text() {
        let tenant = TenantNo(0x8123_4567_89ab_cdef);
        let id = Id::new(1_700_000_000_000, 0xfedc_ba98_7654_3210).derived(7);
        let text = render(Prefix::Hold, tenant, id);
        assert_eq!(text.len(), 4 + DIGITS);
        assert_eq!(parse(Prefix::Hold, &text), Some((tenant, id)));
        assert_eq!(parse(Prefix::Debit, &text), None);
        assert_eq!(parse(Prefix::Hold, &text.to_uppercase()), None);
        assert_eq!(parse(Prefix::Hold, &text[..text.len() - 1]), None);
        // 195 bits carry 192: a text whose padding is set would be a second name of the same thing.
        let padded = format!("{}z", &text[..text.len() - 1]);
        assert_eq!(parse(Prefix::Hold, &padded), None);
    }

    #[test]
    fn later_ids_sort_after_earlier_ones_as_bytes() {
        let early = Id::new(1, u64::MAX).derived(DERIVED_MAX);
        let late = Id::new(2, 0);
        assert!(early.to_bytes() < late.to_bytes());
    }
}

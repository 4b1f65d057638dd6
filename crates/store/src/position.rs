//! Where a row stands in the order of the ledger: the writer's slot and the sequence within it.

use std::fmt;

/// A place in the ledger: slot and sequence in one integer, so that it is the primary key of what is appended.
///
/// Never an id and never shown: positions order rows of one slot, nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// Before every row: the head of a wallet without entries.
    pub const NONE: Position = Position(0);
    /// Bits of the sequence; the slot has the bits above.
    const SEQ_BITS: u32 = 56;

    /// The position `seq` of `slot`.
    ///
    /// # Panics
    /// If the slot or the sequence is out of range: slots are numbered 0-63, and 2^56 entries never come about.
    pub fn new(slot: u8, seq: u64) -> Position {
        assert!(
            slot < 64 && seq < 1 << Position::SEQ_BITS,
            "a position has 6 bits of slot and 56 bits of sequence"
        );
        Position(u64::from(slot) << Position::SEQ_BITS | seq)
    }

    /// The sequence within the slot.
    pub fn seq(self) -> u64 {
        self.0 & ((1 << Position::SEQ_BITS) - 1)
    }

    /// The number that is stored; slots below 64 keep it positive.
    pub(crate) fn to_sql(self) -> i64 {
        self.0 as i64
    }

    /// The position behind a stored number.
    pub(crate) fn from_sql(number: i64) -> Position {
        Position(number as u64)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0 >> Position::SEQ_BITS, self.seq())
    }
}

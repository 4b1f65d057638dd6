//! Where a row stands in the order of the ledger: the writer's slot and the sequence within it.

use std::fmt;

/// How many slots there are; slot 0 numbers cold transactions, each of the others one writer at a time.
pub(crate) const SLOTS: u8 = 64;

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
            slot < SLOTS && seq < 1 << Position::SEQ_BITS,
            "a position has 6 bits of slot and 56 bits of sequence"
        );
        Position(u64::from(slot) << Position::SEQ_BITS | seq)
    }

    /// The position `seq` of `slot`, where there can be one: for what comes from outside.
    pub fn parse(slot: u8, seq: u64) -> Option<Position> {
        (slot < SLOTS && seq < 1 << Position::SEQ_BITS).then(|| Position::new(slot, seq))
    }

    /// The sequence within the slot.
    pub fn seq(self) -> u64 {
        self.0 & ((1 << Position::SEQ_BITS) - 1)
    }

    /// The writer's slot.
    pub fn slot(self) -> u8 {
        (self.0 >> Position::SEQ_BITS) as u8
    }

    /// The one in front of it in its slot; none in front of the first.
    pub fn before(self) -> Option<Position> {
        (self.seq() > 1).then(|| Position(self.0 - 1))
    }

    /// Another position of the same slot.
    pub(crate) fn at(self, seq: u64) -> Position {
        Position::new(self.slot(), seq)
    }

    /// Behind every position of its slot.
    pub(crate) fn end_of_slot(self) -> Position {
        Position((u64::from(self.slot()) + 1) << Position::SEQ_BITS)
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
        write!(f, "{}/{}", self.slot(), self.seq())
    }
}

/// How far something has come in each slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heads([u64; SLOTS as usize]);

impl Default for Heads {
    fn default() -> Heads {
        Heads([0; SLOTS as usize])
    }
}

impl Heads {
    /// Moves the head of the position's slot there.
    pub fn set(&mut self, head: Position) {
        self.0[usize::from(head.slot())] = head.seq();
    }

    /// The head of a slot.
    pub fn of(&self, slot: u8) -> Position {
        Position::new(slot, self.0[usize::from(slot)])
    }

    /// Whether that position is reached.
    pub fn covers(&self, position: Position) -> bool {
        position.seq() <= self.0[usize::from(position.slot())]
    }

    /// The heads of the slots in which something was written.
    pub fn written(&self) -> impl Iterator<Item = Position> + '_ {
        (0..SLOTS).map(|slot| self.of(slot)).filter(|head| head.seq() > 0)
    }

    /// All sequences together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_cover_each_slot_up_to_its_own() {
        let mut heads = Heads::default();
        heads.set(Position::new(1, 5));
        heads.set(Position::new(63, 9));
        assert!(heads.covers(Position::new(1, 5)) && !heads.covers(Position::new(1, 6)));
        assert!(!heads.covers(Position::new(2, 1)) && heads.covers(Position::NONE));
        assert_eq!(heads.written().collect::<Vec<_>>(), [Position::new(1, 5), Position::new(63, 9)]);
        assert_eq!(heads.total(), 14);
        assert!(Position::new(63, 9) < Position::new(63, 9).end_of_slot());
        assert!(Position::new(62, 9).end_of_slot() <= Position::new(63, 1));
    }
}

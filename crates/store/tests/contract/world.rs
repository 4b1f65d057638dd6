//! A small ledger to test with: makes well-formed entries by hand and keeps the state they lead to.

use purser_core::amount::Quantity;
use purser_core::catalogue::Unit;
use purser_core::chain;
use purser_core::entry::{Actor, ActorKind, Charge, GrantKind, HoldTerms, LotTerms, Usage};
use purser_core::wallet::Owner;
use purser_core::{
    Allocation, Amount, Currency, Entry, EntryKind, Id, LotId, Money, TenantNo, Terms, Timestamp, UserNo,
    Wallet,
};
use purser_store::{Batch, EntryText, KeyDigest, NewAnswer, Position, Recording, Touched};

/// A wallet with its head and what was not saved of it.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) wallet: Wallet,
    pub(crate) head: Position,
    pub(crate) unsaved: Touched,
}

/// What a test records on behalf of one idempotency key.
pub(crate) struct Request<'a> {
    pub(crate) key: &'a str,
    pub(crate) receipt: &'a [u8],
}

impl Account {
    pub(crate) fn new(tenant: u64, user: u64) -> Account {
        let wallet = Wallet::new(TenantNo(tenant), Owner::User(UserNo(user)), Unit::credit());
        Account { wallet, head: Position::NONE, unsaved: Touched::default() }
    }

    /// An account whose wallet is new.
    pub(crate) fn open(batch: &mut Batch<'_>, tenant: u64, user: u64) -> Account {
        let account = Account::new(tenant, user);
        batch.insert_wallet(&account.wallet, Timestamp(1)).expect("the wallet is new");
        account
    }

    pub(crate) fn tenant(&self) -> TenantNo {
        self.wallet.key.tenant
    }

    /// Seals an entry, applies it to the wallet, and hands it out for recording.
    pub(crate) fn entry(
        &mut self,
        kind: EntryKind,
        subject: Id,
        allocations: Vec<Allocation>,
        terms: Terms,
    ) -> Entry {
        self.entry_with_text(kind, subject, allocations, terms, None)
    }

    pub(crate) fn entry_with_text(
        &mut self,
        kind: EntryKind,
        subject: Id,
        allocations: Vec<Allocation>,
        terms: Terms,
        text: Option<&EntryText>,
    ) -> Entry {
        let sign = |allocation: &Allocation| match allocation.target {
            purser_core::Target::Lot(_) => allocation.amount,
            purser_core::Target::Debt(_) => -allocation.amount,
        };
        let amount: Amount = allocations.iter().map(sign).sum();
        let now = Timestamp(self.wallet.recorded_at.0.max(1_000_000) + 1_000);
        let mut entry = Entry {
            wallet: self.wallet.key,
            seq: self.wallet.seq + 1,
            kind,
            subject,
            amount,
            held_delta: allocations.iter().map(|allocation| allocation.held).sum(),
            settled_after: self.wallet.settled + amount,
            allocations,
            terms,
            user: Some(UserNo(u64::MAX - 3)),
            actor: Actor { kind: ActorKind::ApiKey, no: u64::MAX },
            occurred_at: Timestamp(now.0 - 7),
            recorded_at: now,
            text_digest: text.map(EntryText::digest),
            hash: [0; 32],
        };
        entry.hash = chain::hash(&self.wallet.head, &entry);
        purser_core::audit::entry(&entry).expect("the entry adds up");
        self.wallet.apply(&entry).expect("the entry fits");
        self.unsaved.add(&entry);
        entry
    }

    pub(crate) fn grant(&mut self, id: u64, amount: i64) -> Entry {
        let terms = LotTerms {
            id: Id::new(id, 1),
            kind: GrantKind::Paid,
            priority: -3,
            effective_at: Timestamp(5),
            expires_at: Some(Timestamp(i64::MAX / 2)),
            granted: Amount(amount),
            paid: Some(Money { minor: amount * 2, currency: Currency::parse("MYR").expect("listed") }),
            origin: Some(Id::new(id, 99)),
            parent: None,
        };
        let fill = Allocation { amount: Amount(amount), money: amount * 2, ..Allocation::lot(terms.id) };
        self.entry(EntryKind::Grant, Id::new(id, 1), vec![fill], Terms::Grant(terms))
    }

    pub(crate) fn debit(&mut self, id: u64, lot: LotId, amount: i64) -> Entry {
        self.debit_with_text(id, lot, amount, None)
    }

    pub(crate) fn debit_with_text(
        &mut self,
        id: u64,
        lot: LotId,
        amount: i64,
        text: Option<&EntryText>,
    ) -> Entry {
        let money = self.wallet.lot(lot).expect("the lot is there").money_of(Amount(amount));
        let take = Allocation { amount: Amount(-amount), money: -money, ..Allocation::lot(lot) };
        let terms = Terms::Charge(charge(amount));
        self.entry_with_text(EntryKind::Debit, Id::new(id, 2), vec![take], terms, text)
    }

    /// Takes everything of the lot and owes `owed` more.
    pub(crate) fn debit_into_debt(&mut self, id: u64, lot: LotId, taken: i64, owed: i64) -> Entry {
        let money = self.wallet.lot(lot).expect("the lot is there").money_of(Amount(taken));
        let take = Allocation { amount: Amount(-taken), money: -money, ..Allocation::lot(lot) };
        let owe = Allocation::debt(self.wallet.seq + 1, Amount(owed));
        self.entry(EntryKind::Debit, Id::new(id, 2), vec![take, owe], Terms::Charge(charge(taken + owed)))
    }

    /// Repays this much of the oldest debt out of the lot that [`Account::grant`] made with this number.
    pub(crate) fn repay(&mut self, id: u64, amount: i64) -> Entry {
        let (debt, subject) = (self.wallet.debts[0].seq, self.wallet.debts[0].subject);
        let money = self.wallet.lot(lot(id)).expect("the lot is there").money_of(Amount(amount));
        let take = Allocation { amount: Amount(-amount), money: -money, ..Allocation::lot(lot(id)) };
        let pay = Allocation::debt(debt, Amount(-amount));
        self.entry(EntryKind::Repay, subject, vec![take, pay], Terms::None)
    }

    pub(crate) fn hold(&mut self, id: u64, lot: LotId, amount: i64) -> Entry {
        let pin = Allocation { held: Amount(amount), ..Allocation::lot(lot) };
        let terms = HoldTerms {
            charge: charge(amount),
            expires_at: Timestamp(i64::MAX / 4),
            ends_at: Timestamp(i64::MAX / 3),
        };
        self.entry(EntryKind::Hold, Id::new(id, 3), vec![pin], Terms::Hold(terms))
    }

    pub(crate) fn release(&mut self, id: u64, lot: LotId, amount: i64) -> Entry {
        let unpin = Allocation { held: Amount(-amount), ..Allocation::lot(lot) };
        self.entry(EntryKind::Release, Id::new(id, 3), vec![unpin], Terms::None)
    }

    pub(crate) fn freeze(&mut self, id: u64, lot: LotId, wanted: i64, taken: i64) -> Entry {
        let set_aside = Allocation { frozen: Amount(taken), ..Allocation::lot(lot) };
        let terms = Terms::Freeze { wants: vec![(lot, Amount(wanted))] };
        self.entry(EntryKind::Freeze, Id::new(id, 4), vec![set_aside], terms)
    }

    /// Appends entries that this account made, and moves its head.
    pub(crate) fn record(&mut self, batch: &mut Batch<'_>, entries: &[Entry]) -> Position {
        self.record_request(batch, entries, None, None)
    }

    pub(crate) fn record_request(
        &mut self,
        batch: &mut Batch<'_>,
        entries: &[Entry],
        text: Option<&EntryText>,
        request: Option<Request<'_>>,
    ) -> Position {
        // As the engine does: on a server this locks it.
        batch.wallet(self.wallet.key).expect("the wallet is read");
        let answer = request.map(|request| NewAnswer {
            tenant: self.tenant(),
            key: KeyDigest::of(self.tenant(), request.key),
            request_digest: &[7; 32],
            receipt: request.receipt,
            created_at: entries.last().expect("entries").recorded_at,
        });
        let recording = Recording { entries, event: entries[0].kind, falls: &[], text, answer };
        let mut heads = [self.head];
        let first = batch.append(&recording, &mut heads).expect("the entries are appended");
        self.head = heads[0];
        first
    }

    /// The same, and saves the rows: on a server no batch may leave them behind.
    pub(crate) fn record_and_save(&mut self, batch: &mut Batch<'_>, entries: &[Entry]) -> Position {
        let first = self.record(batch, entries);
        self.save(batch);
        first
    }

    /// Saves the rows of the account, once in a batch.
    pub(crate) fn save(&mut self, batch: &mut Batch<'_>) {
        batch.wallet(self.wallet.key).expect("the wallet is read");
        // What is closed is not loaded with its wallet; the engine loads it when a command names it.
        batch.lots(self.tenant(), &self.unsaved.lots).expect("the lots are read");
        for hold in &self.unsaved.holds {
            batch.hold(self.tenant(), *hold).expect("the hold is read");
        }
        batch.save_wallet(&self.wallet, self.head, &self.unsaved).expect("the rows are saved");
        self.unsaved = Touched::default();
    }

    /// What a load is expected to give: nothing spent, nothing closed.
    pub(crate) fn pruned(&self) -> Wallet {
        let mut wallet = self.wallet.clone();
        wallet.prune();
        wallet
    }
}

fn charge(cost: i64) -> Charge {
    let measures = vec![("input_tokens".into(), Quantity(5)), ("output_tokens".into(), Quantity(6))];
    Charge::plain(u64::MAX - 1, Some(Id::new(4, 4)), Usage::Dimensions(measures), Amount(cost))
}

/// The lot that [`Account::grant`] made with this number.
pub(crate) fn lot(id: u64) -> LotId {
    Id::new(id, 1)
}

pub(crate) fn text(reference: &str) -> EntryText {
    EntryText {
        salt: [3; 16],
        reference: Some(reference.to_owned()),
        metadata: Some(r#"{"a":1}"#.to_owned()),
        reason: None,
    }
}

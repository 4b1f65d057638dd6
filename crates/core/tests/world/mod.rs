//! One tenant as the tests run it through the real rule book: whole wallets, every entry ever recorded.
//!
//! What a store would load by query is filtered here from memory. Each step checks at once that a refusal left the
//! wallets exactly as they were and that the same question gets the same answer, so that no test can forget to.

use purser_core::catalogue::Catalogue;
use purser_core::command::{Command, Movement};
use purser_core::confirm::Thresholds;
use purser_core::counter;
use purser_core::decide::Standing;
use purser_core::receipt::{Detail, Receipt};
use purser_core::{CounterKey, Decision, Entry, Id, Rejection, State, Timestamp, Wallet, decide};
use std::collections::BTreeMap;

/// A tenant's wallets and their ledger.
pub struct World {
    pub catalogue: Catalogue,
    pub standing: Standing,
    /// Above which cost the user wants to be asked.
    pub asked_above: Thresholds,
    pub wallets: Vec<Wallet>,
    pub entries: Vec<Entry>,
    pub counters: BTreeMap<CounterKey, i64>,
}

impl World {
    /// A tenant with these wallets, before anything happened.
    pub fn new(catalogue: Catalogue, wallets: Vec<Wallet>) -> World {
        let (entries, counters) = (Vec::new(), BTreeMap::new());
        let asked_above = Thresholds::default();
        World { catalogue, standing: Standing::Active, asked_above, wallets, entries, counters }
    }

    /// Decides a command on the wallets with these numbers and records the outcome.
    pub fn run(&mut self, which: &[usize], command: &Command, now: Timestamp) -> Result<Decision, Rejection> {
        let wallets: Vec<Wallet> = which.iter().map(|index| self.wallets[*index].clone()).collect();
        let history = self.history(which, command);
        let keys = counter::looked_at(&self.catalogue, &wallets, command, now);
        let counters: Vec<(CounterKey, i64)> =
            keys.into_iter().filter_map(|key| Some((key, *self.counters.get(&key)?))).collect();
        let state = || State {
            catalogue: &self.catalogue,
            standing: self.standing,
            confirm_above: Some(&self.asked_above),
            wallets: wallets.clone(),
            history: history.clone(),
            counters: counters.clone(),
        };
        let (mut state, mut again) = (state(), state());
        let answer = decide(&mut state, command, now);
        assert!(answer == decide(&mut again, command, now), "the same question has one answer: {command:?}");
        match answer {
            Ok(decision) => {
                for (index, wallet) in which.iter().zip(state.wallets) {
                    self.wallets[*index] = wallet;
                }
                for (key, change) in &decision.counts {
                    *self.counters.entry(*key).or_default() += change;
                }
                self.entries.extend(decision.entries.iter().cloned());
                self.told_as_it_is(&decision.receipt, now);
                Ok(decision)
            }
            Err(rejection) => {
                assert!(
                    state.wallets == wallets,
                    "a refused command changed a wallet: {command:?} {rejection:?}"
                );
                Err(rejection)
            }
        }
    }

    /// The balances of a receipt are those of its wallets after everything was booked.
    fn told_as_it_is(&self, receipt: &Receipt, now: Timestamp) {
        let balance = |id| {
            let wallet = self.wallets.iter().find(|wallet| wallet.key.id == id);
            wallet.expect("a receipt names wallets of the tenant").balance(now)
        };
        assert_eq!(receipt.balance, balance(receipt.wallet), "{receipt:?}");
        if let Detail::Transfer { peer, peer_balance } = &receipt.detail {
            assert_eq!(*peer_balance, balance(*peer), "{receipt:?}");
        }
    }

    /// The earlier entries of the thing that a command undoes, by wallet and seq.
    fn history(&self, which: &[usize], command: &Command) -> Vec<Entry> {
        let subject: Id = match &command.movement {
            Movement::Refund(refund) => refund.debit,
            Movement::Reinstate { cause } | Movement::Thaw { cause } => *cause,
            Movement::Freeze(freeze) => freeze.cause,
            Movement::Reverse(reverse) => reverse.cause,
            _ => return Vec::new(),
        };
        let mut found = Vec::new();
        for &index in which {
            let key = self.wallets[index].key;
            found.extend(
                self.entries.iter().filter(|entry| entry.wallet == key && entry.subject == subject).cloned(),
            );
        }
        found
    }
}

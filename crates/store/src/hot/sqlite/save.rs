//! State into rows of the embedded database: wallets, lots, holds, debts and freezes, written when the engine says so.
//!
//! The ledger is the truth in between (`recover.rs`), so a wallet that changes a thousand times is written once.

use super::SqliteBatch;
use crate::dialect::statements;
use crate::error::StoreError;
use crate::hot::Touched;
use crate::hot::rows::encode_pins;
use crate::position::Position;
use purser_core::codec::encode_hold_terms;
use purser_core::wallet::{Hold, HoldState, Lot, Owner};
use purser_core::{CounterKey, Id, Timestamp, Wallet, WalletKey};
use rusqlite::params;

statements! {
    INSERT_WALLET = "
        INSERT INTO wallet (tenant_no, wallet_id, owner_kind, owner_no, unit_code, scale, seq, head, head_position,
                            recorded_at, settled, held, frozen, debt, last_topup, created_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, 0, 0, 0, 0, 0, ?10)";
    UPDATE_WALLET = "
        UPDATE wallet
           SET seq = ?3, head = ?4, head_position = ?5, recorded_at = ?6, settled = ?7, held = ?8, frozen = ?9,
               debt = ?10, last_topup = ?11
         WHERE tenant_no = ?1 AND wallet_id = ?2";
    /// The common case: a lot that stays open. `is_open` is not assigned, so the index by wallet is not touched.
    UPDATE_OPEN_LOT = "
        UPDATE lot
           SET remaining = ?3, held = ?4, frozen = ?5, money = ?6, expired = ?7, expired_money = ?8
         WHERE tenant_no = ?1 AND lot_id = ?2 AND is_open = 1";
    UPSERT_LOT = "
        INSERT INTO lot (tenant_no, lot_id, wallet_id, is_open, kind, priority, effective_at, expires_at, granted,
                         remaining, held, frozen, paid_minor, paid_currency, money, expired, expired_money, origin,
                         parent)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
        ON CONFLICT (tenant_no, lot_id) DO UPDATE
           SET is_open = excluded.is_open, remaining = excluded.remaining, held = excluded.held,
               frozen = excluded.frozen, money = excluded.money, expired = excluded.expired,
               expired_money = excluded.expired_money";
    UPSERT_HOLD = "
        INSERT INTO hold (tenant_no, wallet_id, hold_id, state, terms, pins, held, captured, user_no, placed_at,
                          expires_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
        ON CONFLICT (tenant_no, wallet_id, hold_id) DO UPDATE
           SET state = excluded.state, terms = excluded.terms, pins = excluded.pins, held = excluded.held,
               captured = excluded.captured, expires_at = excluded.expires_at";
    DELETE_DEBTS = "DELETE FROM debt WHERE tenant_no = ?1 AND wallet_id = ?2";
    INSERT_DEBT = "
        INSERT INTO debt (tenant_no, wallet_id, seq, cause, subject, origin, amount)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    DELETE_FREEZES = "DELETE FROM open_freeze WHERE tenant_no = ?1 AND wallet_id = ?2";
    INSERT_FREEZE = "
        INSERT INTO open_freeze (tenant_no, wallet_id, ordinal, cause, lot_id, wanted, taken)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    COUNT = "
        INSERT INTO counter (tenant_no, subject, rule, period_start, used) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (tenant_no, subject, rule, period_start) DO UPDATE SET used = used + excluded.used";
    SET_FLUSHED = "UPDATE fold SET position = ?1 WHERE name = 'wallet_rows' AND slot = 1";
}

impl SqliteBatch<'_> {
    /// Adds to counters. Unlike wallets they are written at once: few tenants have any, and none of them has to be replayed.
    pub(crate) fn count(&mut self, counts: &[(CounterKey, i64)]) -> Result<(), StoreError> {
        if counts.is_empty() {
            return Ok(());
        }
        let mut statement = self.connection.prepare_cached(COUNT)?;
        for (key, change) in counts {
            let (subject, rule) = (key.subject.to_bytes(), key.rule.to_bytes());
            statement.execute(params![key.tenant.0 as i64, subject, rule, key.period_start.0, change])?;
        }
        Ok(())
    }

    /// Inserts the row of a wallet before its first entry.
    ///
    /// # Panics
    /// If the wallet has entries: its row is made before the first one.
    pub(crate) fn insert_wallet(&mut self, wallet: &Wallet, now: Timestamp) -> Result<(), StoreError> {
        assert!(wallet.seq == 0, "the row of a wallet is made before its first entry");
        let (owner_kind, owner_no) = match wallet.owner {
            Owner::User(user) => (1, user.0),
            Owner::Pool(pool) => (2, pool),
        };
        self.connection.prepare_cached(INSERT_WALLET)?.execute(params![
            wallet.key.tenant.0 as i64,
            wallet.key.id.0.to_bytes(),
            owner_kind,
            owner_no as i64,
            wallet.unit.code.as_str(),
            wallet.unit.scale.decimals(),
            wallet.seq as i64,
            wallet.head,
            wallet.recorded_at.0,
            now.0
        ])?;
        Ok(())
    }

    /// Saves a wallet's row, its debts and freezes, and the lots and holds that changed since it was last saved.
    ///
    /// # Panics
    /// If a touched lot or hold is not in the wallet: it was pruned before it was saved.
    pub(crate) fn save_wallet(
        &mut self,
        wallet: &Wallet,
        head: Position,
        touched: &Touched,
    ) -> Result<(), StoreError> {
        let updated = self.connection.prepare_cached(UPDATE_WALLET)?.execute(params![
            wallet.key.tenant.0 as i64,
            wallet.key.id.0.to_bytes(),
            wallet.seq as i64,
            wallet.head,
            head.to_sql(),
            wallet.recorded_at.0,
            wallet.settled.0,
            wallet.held.0,
            wallet.frozen.0,
            wallet.debt.0,
            wallet.last_topup.0
        ])?;
        if updated != 1 {
            return Err(StoreError::inconsistent("wallet", wallet.key, "it has entries but no row"));
        }
        for id in &touched.lots {
            let lot = wallet.lot(*id).expect("a touched lot stays loaded until it is saved");
            self.save_lot(wallet.key, lot)?;
        }
        for id in &touched.holds {
            let hold = wallet.hold(*id).expect("a touched hold stays loaded until it is saved");
            self.save_hold(wallet.key, hold)?;
        }
        self.save_debts(wallet)?;
        self.save_freezes(wallet)
    }

    fn save_lot(&mut self, key: WalletKey, lot: &Lot) -> Result<(), StoreError> {
        let is_open = lot.remaining.is_positive();
        let (tenant, id) = (key.tenant.0 as i64, lot.terms.id.to_bytes());
        let (remaining, held, frozen) = (lot.remaining.0, lot.held.0, lot.frozen.0);
        let (expired, expired_money) = (lot.expired.0, lot.expired_money);
        if is_open {
            let changed = params![tenant, id, remaining, held, frozen, lot.money, expired, expired_money];
            if self.connection.prepare_cached(UPDATE_OPEN_LOT)?.execute(changed)? == 1 {
                return Ok(());
            }
        }
        let terms = &lot.terms;
        self.connection.prepare_cached(UPSERT_LOT)?.execute(params![
            tenant,
            id,
            key.id.0.to_bytes(),
            is_open,
            terms.kind as u8,
            terms.priority,
            terms.effective_at.0,
            terms.expires_at.unwrap_or(Timestamp::NEVER).0,
            terms.granted.0,
            remaining,
            held,
            frozen,
            terms.paid.map(|money| money.minor),
            terms.paid.as_ref().map(|money| money.currency.code()),
            lot.money,
            expired,
            expired_money,
            terms.origin.map(Id::to_bytes),
            terms.parent.map(Id::to_bytes)
        ])?;
        Ok(())
    }

    fn save_hold(&mut self, key: WalletKey, hold: &Hold) -> Result<(), StoreError> {
        debug_assert!(hold.state == HoldState::Active || hold.pins.is_empty(), "a closed hold pins nothing");
        self.connection.prepare_cached(UPSERT_HOLD)?.execute(params![
            key.tenant.0 as i64,
            key.id.0.to_bytes(),
            hold.id.to_bytes(),
            hold.state as u8,
            encode_hold_terms(&hold.terms),
            encode_pins(&hold.pins),
            hold.held.0,
            hold.captured.0,
            hold.user.map(|user| user.0 as i64),
            hold.placed_at.0,
            hold.terms.expires_at.0
        ])?;
        Ok(())
    }

    fn save_debts(&mut self, wallet: &Wallet) -> Result<(), StoreError> {
        let (tenant, id) = (wallet.key.tenant.0 as i64, wallet.key.id.0.to_bytes());
        self.connection.prepare_cached(DELETE_DEBTS)?.execute(params![tenant, id])?;
        for debt in &wallet.debts {
            self.connection.prepare_cached(INSERT_DEBT)?.execute(params![
                tenant,
                id,
                debt.seq as i64,
                debt.cause as u8,
                debt.subject.to_bytes(),
                debt.origin.map(Id::to_bytes),
                debt.amount.0
            ])?;
        }
        Ok(())
    }

    fn save_freezes(&mut self, wallet: &Wallet) -> Result<(), StoreError> {
        let (tenant, id) = (wallet.key.tenant.0 as i64, wallet.key.id.0.to_bytes());
        self.connection.prepare_cached(DELETE_FREEZES)?.execute(params![tenant, id])?;
        for (ordinal, freeze) in wallet.freezes.iter().enumerate() {
            self.connection.prepare_cached(INSERT_FREEZE)?.execute(params![
                tenant,
                id,
                ordinal as i64,
                freeze.cause.to_bytes(),
                freeze.lot.to_bytes(),
                freeze.wanted.0,
                freeze.taken.0
            ])?;
        }
        Ok(())
    }

    /// States that every wallet row reflects at least all entries up to `position`.
    pub(crate) fn set_flushed(&mut self, position: Position) -> Result<(), StoreError> {
        self.connection.prepare_cached(SET_FLUSHED)?.execute([position.to_sql()])?;
        self.state.flushed = position;
        self.dirty = true;
        Ok(())
    }
}

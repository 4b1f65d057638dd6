//! Comparing the catalogue in force with what a file says, action by action. Pure: no store, no clock.

use super::price::behind;
use super::{Caller, audit, view};
use crate::config::Config;
use crate::usecase::preference::told;
use crate::view::{ActionChange, CatalogueDiff, FilePrice, UnitView};
use purser_core::catalogue::{Action, Catalogue, Overage, Price, Unit};
use purser_core::{Key, Timestamp};
use purser_store::{ActionRow, AuditRow, CatalogueChange, UnitRow};
use serde_json::json;
use std::collections::HashSet;

/// What a file cannot have: the field, the code, and why.
pub(super) type Unwanted = (&'static str, &'static str, String);

/// What a file says of an action: its labels and units in `row`, its prices beside it.
pub(super) struct Wanted {
    pub(super) row: ActionRow,
    pub(super) prices: Vec<WantedPrice>,
}

/// A price of a file, and from when on it is wanted; at once where it does not say.
pub(super) struct WantedPrice {
    pub(super) price: Price,
    pub(super) from: Option<Timestamp>,
}

/// What is found to differ so far.
pub(super) struct Plan<'a> {
    config: &'a Config,
    caller: &'a Caller,
    now: Timestamp,
    change: CatalogueChange,
    diff: CatalogueDiff,
    /// Units that the file named so far.
    named_units: HashSet<Key>,
}

/// The prices of an action as a file names them: for each unit the one in force, then what is scheduled.
pub(super) fn in_file(action: &Action, now: Timestamp) -> Vec<FilePrice> {
    let of_unit = |unit: &Key| {
        let in_force = action.price_at(unit, now).map(|price| (price.clone(), false));
        let mut later: Vec<&Price> =
            action.prices.iter().filter(|price| price.unit == *unit && price.valid_from > now).collect();
        later.sort_by_key(|price| (price.valid_from, price.id));
        // Of two from one instant on, the later made counts.
        let counts = |(index, price): (usize, &&Price)| {
            let next = later.get(index + 1);
            next.is_none_or(|next| next.valid_from != price.valid_from).then(|| ((*price).clone(), true))
        };
        let later: Vec<(Price, bool)> = later.iter().enumerate().filter_map(counts).collect();
        in_force.into_iter().chain(later)
    };
    let all = action.units.iter().flat_map(of_unit);
    all.map(|(price, scheduled)| FilePrice { price, scheduled }).collect()
}

/// The audit line of a change of labels, rule or activity.
pub(super) fn told_of_change(
    caller: &Caller,
    before: &ActionRow,
    after: &ActionRow,
    catalogue: &Catalogue,
    now: Timestamp,
) -> AuditRow {
    let told_of = |row: &ActionRow| {
        let (overage, percent) = match row.action.overage {
            Overage::Refuse => ("refuse", None),
            Overage::Allow { percent } => ("allow", Some(percent)),
            Overage::Debt => ("debt", None),
        };
        let labels = json!({
            "name": row.name, "unit_label": row.unit_label, "description": row.description,
            "category": row.category, "active": row.action.active, "overage": overage,
            "overage_percent": percent,
            "confirm_above": told(&row.action.confirm_above, catalogue),
        });
        Some(labels.to_string())
    };
    let line = audit(caller, "action.update", row_key(after), now);
    AuditRow { before: told_of(before), after: told_of(after), ..line }
}

fn row_key(row: &ActionRow) -> &str {
    row.action.key.as_str()
}

impl<'a> Plan<'a> {
    /// Nothing differs yet.
    pub(super) fn new(config: &'a Config, caller: &'a Caller, now: Timestamp) -> Plan<'a> {
        let change = CatalogueChange { epoch: config.epoch, ..CatalogueChange::default() };
        Plan { config, caller, now, change, diff: CatalogueDiff::default(), named_units: HashSet::new() }
    }

    /// The units that there will be, to count amounts in.
    fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.units().cloned().collect::<Vec<_>>(), [])
    }

    /// All units that there will be.
    pub(super) fn units(&self) -> impl Iterator<Item = &Unit> {
        self.config.units.iter().chain(&self.change.new_units).map(|row| &row.unit)
    }

    /// Compares a unit of the file.
    pub(super) fn unit(&mut self, wanted: UnitRow) -> Result<(), Unwanted> {
        if !self.named_units.insert(wanted.unit.code.clone()) {
            return Err(("code", "repeated", "the file names the unit twice".to_string()));
        }
        let told = |what: &str| audit(self.caller, what, wanted.unit.code.as_str(), self.now);
        let shown = UnitView { unit: wanted.unit.clone(), name: wanted.name.clone() };
        match self.config.units.iter().find(|known| known.unit.code == wanted.unit.code) {
            None => {
                self.change.audit.push(told("unit.create"));
                self.diff.units.push((shown, None));
                self.change.new_units.push(wanted);
            }
            Some(known) if known.unit.scale != wanted.unit.scale => {
                let detail = format!("the unit has {} decimals, for ever", known.unit.scale.decimals());
                return Err(("scale", "not_allowed", detail));
            }
            Some(known) if known.name != wanted.name => {
                self.change.audit.push(told("unit.update"));
                self.diff.units.push((shown, Some(known.name.clone())));
                self.change.renamed_units.push(wanted);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Compares an action of the file; `number` gives a new one its number.
    pub(super) fn action(&mut self, wanted: Wanted, number: impl FnOnce() -> u64) -> Result<(), Unwanted> {
        let config = self.config;
        let found = config.actions.binary_search_by(|row| row.action.key.cmp(&wanted.row.action.key));
        match found {
            Ok(known) => self.known(&config.actions[known], wanted),
            Err(_) => {
                self.new_action(wanted, number());
                Ok(())
            }
        }
    }

    fn new_action(&mut self, wanted: Wanted, no: u64) {
        let Wanted { mut row, prices } = wanted;
        row.action.no = no;
        let prices = timeline(&row.action.units, prices, self.now);
        row.action.prices = prices.iter().map(|price| price.price.clone()).collect();
        self.change.audit.push(audit(self.caller, "action.create", row_key(&row), self.now));
        self.diff.actions.push(ActionChange {
            before: None,
            after: view(&row),
            prices: prices.into_iter().map(|price| (None, price)).collect(),
            pruned: false,
        });
        self.change.new_actions.push(row);
    }

    fn known(&mut self, known: &ActionRow, wanted: Wanted) -> Result<(), Unwanted> {
        let Wanted { row, prices } = wanted;
        self.new_units_of(known, &row)?;
        let now = self.now;
        let mut wanted = timeline(&row.action.units, prices, now);
        for wanted in &mut wanted {
            wanted.price.id = behind(wanted.price.id, known.action.prices.iter().map(|known| known.id));
        }
        let mut changed = Vec::new();
        for price in &wanted {
            let FilePrice { price: version, scheduled } = price;
            let at = if *scheduled { version.valid_from } else { now };
            let in_force = known.action.price_at(&version.unit, at);
            // What is scheduled is there when a version begins at that very instant.
            let same = in_force.is_some_and(|known| {
                known.model == version.model && (!scheduled || known.valid_from == version.valid_from)
            });
            if !same {
                changed.push((in_force.cloned(), price.clone()));
            }
        }
        for FilePrice { price, scheduled } in in_file(&known.action, now) {
            let said = |wanted: &FilePrice| {
                wanted.scheduled
                    && (&wanted.price.unit, wanted.price.valid_from) == (&price.unit, price.valid_from)
            };
            if scheduled && row.action.units.contains(&price.unit) && !wanted.iter().any(said) {
                let place = (known.action.key.clone(), price.unit, price.valid_from);
                self.diff.scheduled_not_in_file.push(place);
            }
        }
        let mut after = row;
        after.action.no = known.action.no;
        after.action.units = known.action.units.clone();
        after.action.prices = known.action.prices.clone();
        let relabelled = after != *known;
        if !relabelled && changed.is_empty() {
            self.diff.unchanged += 1;
            return Ok(());
        }
        if relabelled {
            self.change.audit.push(told_of_change(self.caller, known, &after, &self.catalogue(), now));
            self.change.set_actions.push(after.clone());
        }
        for (_, FilePrice { price, .. }) in &changed {
            self.change.audit.push(audit(self.caller, "price.create", row_key(known), now));
            self.change.new_prices.push((known.action.no, price.clone()));
        }
        let (before, after) = (Some(view(known)), view(&after));
        self.diff.actions.push(ActionChange { before, after, prices: changed, pruned: false });
        Ok(())
    }

    /// Units come after those in which the action is paid already, which keep their order.
    fn new_units_of(&mut self, known: &ActionRow, wanted: &ActionRow) -> Result<(), Unwanted> {
        let units = &known.action.units;
        let places: Vec<usize> = wanted
            .action
            .units
            .iter()
            .map(|unit| units.iter().position(|known| known == unit).unwrap_or(usize::MAX))
            .collect();
        if !places.is_sorted() {
            let order: Vec<&str> = units.iter().map(Key::as_str).collect();
            let detail = format!("the units keep their order ({}), new ones come last", order.join(", "));
            return Err(("prices", "not_allowed", detail));
        }
        let fresh = wanted.action.units.iter().filter(|unit| !units.contains(unit));
        let placed =
            (units.len()..).zip(fresh).map(|(ordinal, unit)| (known.action.no, ordinal, unit.clone()));
        let before = self.change.new_action_units.len();
        self.change.new_action_units.extend(placed);
        let all = units.len() + self.change.new_action_units.len() - before;
        if all > super::PRICES_MAX {
            return Err(("prices", "out_of_range", format!("at most {} units", super::PRICES_MAX)));
        }
        Ok(())
    }

    /// What the file does not name is left alone, or switched off.
    pub(super) fn others(&mut self, named: &HashSet<Key>, prune: bool) {
        let config = self.config;
        let others =
            config.actions.iter().filter(|row| row.action.active && !named.contains(&row.action.key));
        for row in others {
            if !prune {
                self.diff.not_in_file.push(row.action.key.clone());
                continue;
            }
            let mut after = row.clone();
            after.action.active = false;
            self.change.audit.push(audit(self.caller, "action.deactivate", row_key(row), self.now));
            let (before, shown) = (Some(view(row)), view(&after));
            self.diff.actions.push(ActionChange { before, after: shown, prices: Vec::new(), pruned: true });
            self.change.set_actions.push(after);
        }
    }

    /// What differs, and what is to be written; `told` is the audit line of the whole.
    pub(super) fn finished(mut self, told: AuditRow) -> (CatalogueDiff, CatalogueChange) {
        self.diff.catalogue = self.catalogue();
        if !self.change.is_empty() {
            let new = self.change.new_actions.len();
            let counts = json!({
                "new_actions": new, "changed_actions": self.diff.actions.len() - new,
                "new_prices": self.change.new_prices.len(), "unchanged": self.diff.unchanged,
            });
            self.change.audit.push(AuditRow { after: Some(counts.to_string()), ..told });
        }
        (self.diff, self.change)
    }
}

/// The prices of a file in order: for each unit the one wanted from now on, which is the last whose instant is not ahead,
/// then those ahead.
fn timeline(units: &[Key], prices: Vec<WantedPrice>, now: Timestamp) -> Vec<FilePrice> {
    let mut sorted = prices;
    sorted.sort_by_key(|price| (units.iter().position(|unit| *unit == price.price.unit), price.from));
    let mut made: Vec<FilePrice> = Vec::with_capacity(sorted.len());
    for WantedPrice { mut price, from } in sorted {
        let scheduled = from.is_some_and(|from| from > now);
        price.valid_from = from.filter(|_| scheduled).unwrap_or(now);
        if let Some(last) = made.last_mut()
            && !scheduled
            && last.price.unit == price.unit
        {
            last.price = price;
        } else {
            made.push(FilePrice { price, scheduled });
        }
    }
    made
}

//! What users prefer, and the text in which costs above which somebody is asked are stored.

use crate::dialect::statements;
use crate::driver::{Session, values};
use crate::error::StoreError;
use crate::hot::Batch;
use crate::hot::rows::{number, text_option};
use purser_core::confirm::Thresholds;
use purser_core::{Amount, Key, TenantNo, Timestamp, UserNo};

statements! {
    SET_PREFERENCE = "
        INSERT INTO user_preference (tenant_no, user_no, confirm_above, changed_at) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (tenant_no, user_no) DO UPDATE SET confirm_above = excluded.confirm_above, changed_at = excluded.changed_at";
    PREFERENCES = "
        SELECT tenant_no, user_no, confirm_above FROM user_preference WHERE confirm_above IS NOT NULL";
}

/// What a user prefers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreferenceRow {
    /// The user's tenant.
    pub tenant: TenantNo,
    /// The user.
    pub user: UserNo,
    /// Above which costs it wants to be asked.
    pub confirm_above: Thresholds,
}

/// Units and amounts as one text; none for nothing.
pub(super) fn thresholds_text(thresholds: &Thresholds) -> Option<String> {
    // Neither units nor numbers have a space in them.
    let pairs: Vec<String> = thresholds.iter().map(|(unit, amount)| format!("{unit} {}", amount.0)).collect();
    (!pairs.is_empty()).then(|| pairs.join(" "))
}

/// The same read back; none when it is not what was written.
pub(super) fn thresholds_from(text: Option<&str>) -> Option<Thresholds> {
    let Some(text) = text else { return Some(Thresholds::default()) };
    let words: Vec<&str> = text.split(' ').collect();
    let (pairs, []) = words.as_chunks::<2>() else { return None };
    let pair = |[unit, amount]: &[&str; 2]| Some((Key::parse(unit)?, Amount(amount.parse().ok()?)));
    pairs.iter().map(pair).collect()
}

/// All users that prefer something.
pub(super) fn read_preferences(session: Session<'_>) -> Result<Vec<PreferenceRow>, StoreError> {
    session.all(PREFERENCES, &[], |row| {
        let (tenant, user) = (TenantNo(number(row, 0)?), UserNo(number(row, 1)?));
        let confirm_above = thresholds_from(text_option(row, 2)?.as_deref()).ok_or_else(|| {
            StoreError::inconsistent("user_preference", tenant, "its thresholds cannot be read")
        })?;
        Ok(PreferenceRow { tenant, user, confirm_above })
    })
}

impl Batch<'_> {
    /// Sets what a user prefers.
    pub fn set_preference(&mut self, row: &PreferenceRow, now: Timestamp) -> Result<(), StoreError> {
        let text = thresholds_text(&row.confirm_above);
        let values = values![row.tenant.0, row.user.0, text.as_ref(), now.0];
        self.session().execute(SET_PREFERENCE, values).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_come_back_from_their_text_and_nothing_else_does() {
        let key = |text: &str| Key::parse(text).expect("a key");
        let both: Thresholds = [(key("MYR"), Amount(500)), (key("a=b,c"), Amount(0))].into_iter().collect();
        assert_eq!(thresholds_text(&both).as_deref(), Some("MYR 500 a=b,c 0"));
        assert_eq!(thresholds_from(thresholds_text(&both).as_deref()), Some(both));
        assert_eq!(thresholds_text(&Thresholds::default()), None);
        assert_eq!(thresholds_from(None), Some(Thresholds::default()));
        for bad in ["", "MYR", "MYR x", "MYR 5 credit", "MYR  5"] {
            assert_eq!(thresholds_from(Some(bad)), None, "{bad}");
        }
    }
}

//! Reports for people. They read what was written, and decide nothing.

use crate::App;
use crate::ask::{PageAsk, RefusalsAsk};
use crate::caller::{Caller, Scope};
use crate::error::AppError;
use crate::parse::{self, field};
use crate::refusals::quarter_of;
use crate::view::{Page, RefusalView};
use purser_core::time::DAY;
use purser_core::{Key, TenantNo, Timestamp};
use purser_store::{RefusalFilter, RefusalKey};

/// How often strict debits and holds were refused, by quarter of an hour. What a node refused within the last minute is missing.
pub async fn refusals(
    app: &App,
    caller: &Caller,
    ask: RefusalsAsk,
    page: PageAsk,
) -> Result<Page<RefusalView>, AppError> {
    caller.require(Scope::Read)?;
    let limit = parse::limit(&page)?;
    let after = page.cursor.as_deref().map(cursor).transpose()?;
    let now = app.now();
    let from = ask.from.as_deref().map_or(Ok(now.plus(-DAY)), |text| parse::time("?from", text))?;
    let to = ask.to.as_deref().map_or(Ok(now), |text| parse::time("?to", text))?;
    if from >= to {
        return Err(field("?from", "out_of_range", "it has to be before `to`, which is now unless said"));
    }
    let nothing = || Ok(Page { data: Vec::new(), next_cursor: None });
    let tenant = match app.tenant_key(caller, ask.tenant.as_deref())? {
        None => None,
        Some(key) => match app.read(move |reader| reader.resolve_tenant(&key)).await? {
            Some(tenant) => Some(tenant),
            None => return nothing(),
        },
    };
    let action = ask.action.as_deref().map(parse::action).transpose()?;
    let action = action.map(|key| app.action(&key)).transpose()?.map(|action| action.no);
    // The quarter that `from` lies in is part of it.
    let filter = RefusalFilter { from: quarter_of(from), to, tenant, action };
    let rows = app.read(move |reader| reader.refusals(&filter, after.as_ref(), limit)).await?;
    let next_cursor = rows.last().filter(|_| rows.len() == limit).map(|last| render(&last.key));
    let data = rows.into_iter().map(|row| RefusalView { action: app.action_key(row.key.action), row });
    Ok(Page { data: data.collect(), next_cursor })
}

fn render(key: &RefusalKey<Key>) -> String {
    let RefusalKey { quarter, tenant, action, code } = key;
    format!("{}.{:x}.{action:x}.{code}", quarter.0, tenant.0)
}

fn cursor(text: &str) -> Result<RefusalKey<Key>, AppError> {
    let mut parts = text.splitn(4, '.');
    let mut read = || {
        let quarter = Timestamp(parts.next()?.parse().ok()?);
        let tenant = TenantNo(u64::from_str_radix(parts.next()?, 16).ok()?);
        let action = u64::from_str_radix(parts.next()?, 16).ok()?;
        Some(RefusalKey { quarter, tenant, action, code: Key::parse(parts.next()?)? })
    };
    read().ok_or_else(|| field("?cursor", "malformed", "use next_cursor as it was given"))
}

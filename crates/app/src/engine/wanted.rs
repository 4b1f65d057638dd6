//! What a batch will ask the store for, as far as its commands say so: a server answers and locks it at once, in one order for
//! all nodes. What only loading shows (`work.rs`) is asked for then.

use super::job::{Job, Route};
use crate::config::Config;
use purser_core::wallet::Owner;
use purser_core::{Command, Movement, Timestamp, WalletKey, counter};
use purser_store::Wanted;

/// What is known to be needed for these jobs before anything is loaded.
pub(super) fn wanted(jobs: &[&Job], config: &Config, now: Timestamp) -> Wanted {
    let mut wanted = Wanted::default();
    for job in jobs {
        wanted.keys.extend(job.key.as_ref().map(|(key, _)| *key));
        wanted.quotes.extend(job.command.movement.promise().map(|promise| (job.command.tenant, promise.id)));
        wanted.counters.extend(counter::looked_at(&config.catalogue, &[], &job.command, now));
        want(&mut wanted, &job.route, &job.command, config);
    }
    wanted
}

fn want(wanted: &mut Wanted, route: &Route, command: &Command, config: &Config) {
    let tenant = command.tenant;
    let mut owned = |owner: Owner, unit: &purser_core::Key| {
        wanted.wallets.extend(config.catalogue.unit(unit).map(|unit| WalletKey::derive(tenant, owner, unit)));
    };
    match route {
        Route::Action(owner) => {
            let no = match &command.movement {
                Movement::Debit(debit) => debit.action,
                Movement::PlaceHold(place) => place.action,
                _ => return,
            };
            let units = config.catalogue.action(no).map(|action| &action.units);
            units.into_iter().flatten().for_each(|unit| owned(*owner, unit));
        }
        Route::Owned(owner, unit) => owned(*owner, unit),
        Route::Wallet(key, _) => wanted.wallets.push(*key),
        Route::Subject(subject) => wanted.subjects.push((tenant, *subject)),
        Route::Pair(pair) => {
            want(wanted, &pair.0, command, config);
            want(wanted, &pair.1, command, config);
        }
        // Which wallets a purchase reached is found out under way.
        Route::Origin(_, buyer) => wanted.wallets.extend(*buyer),
    }
}

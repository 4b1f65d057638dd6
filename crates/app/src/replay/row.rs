//! One row: place a hold for what is expected, do the work (it was done in 2023), capture what it really was.

use super::{KEY_PREFIX, Plan, ReplayError, Row, Work};
use purser_remote::http::RemoteError;
use purser_remote::purser::{Answered, CaptureRequest, Dimensions, Hold, HoldRequest, Problem};

/// Replays a row and counts what came of it.
pub(super) async fn replay(work: &Work, row: Row) -> Result<(), ReplayError> {
    let plan = &work.plan;
    let (user, action) = (pick(&plan.users, plan, row, b"user"), pick(&plan.actions, plan, row, b"action"));
    let expected = dimensions(row.input_tokens, plan.output_tokens_held);
    let request = HoldRequest { user, action, dimensions: expected };
    let key = key(plan, row, "hold");
    let placed = timed(work, work.client.place_hold(&request, &key)).await?;
    match placed {
        Answered::Done { value: hold, .. } => capture(work, row, &hold).await,
        Answered::Refused(problem) if problem.status == 402 => {
            work.figures.lock().count.refused += 1;
            Ok(())
        }
        Answered::Refused(problem) => Err(refused(row, "placing a hold", problem)),
    }
}

async fn capture(work: &Work, row: Row, hold: &Hold) -> Result<(), ReplayError> {
    let truth = || dimensions(row.input_tokens, row.output_tokens);
    let request = CaptureRequest { dimensions: truth(), mode: None };
    let key = |step| key(&work.plan, row, step);
    let mut captured = timed(work, work.client.capture_hold(&hold.id, &request, &key("capture"))).await?;
    if matches!(&captured, Answered::Refused(problem) if problem.code == "hold_expired") {
        // A run that was broken off for long: the work was done, so it is settled.
        let request = CaptureRequest { dimensions: truth(), mode: Some("settle") };
        captured = timed(work, work.client.capture_hold(&hold.id, &request, &key("settle"))).await?;
    }
    match captured {
        Answered::Done { value, replayed } => work.figures.lock().charged(&value, replayed),
        Answered::Refused(problem) if exceeds(&problem) => {
            let released = timed(work, work.client.release_hold(&hold.id, &key("release"))).await?;
            match released {
                // Closed already: released when this run came by before.
                Answered::Refused(problem) if problem.status != 409 => {
                    Err(refused(row, "releasing a hold", problem))
                }
                Answered::Done { .. } | Answered::Refused(_) => {
                    work.figures.lock().count.exceeded += 1;
                    Ok(())
                }
            }
        }
        Answered::Refused(problem) => Err(refused(row, "capturing a hold", problem)),
    }
}

/// Whether the work cost more than the action's rule lets a capture take beyond the hold.
fn exceeds(problem: &Problem) -> bool {
    problem.status == 402 || ["capture_exceeds_hold", "hold_closed"].contains(&problem.code.as_str())
}

async fn timed<T>(
    work: &Work,
    call: impl Future<Output = Result<Answered<T>, RemoteError>>,
) -> Result<Answered<T>, RemoteError> {
    let started = work.clock.monotonic();
    let answered = call.await?;
    work.figures.lock().latency.record(work.clock.monotonic() - started);
    Ok(answered)
}

fn dimensions(input_tokens: u64, output_tokens: u64) -> Dimensions {
    Dimensions::from([
        ("input_tokens", input_tokens.to_string()),
        ("output_tokens", output_tokens.to_string()),
    ])
}

/// A choice that looks like chance and is the same in every run.
fn pick<'a>(of: &'a [String], plan: &Plan, row: Row, what: &[u8]) -> &'a str {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&plan.digest).update(what).update(&row.line.to_be_bytes());
    let mut number = [0; 8];
    number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    let index = u64::from_be_bytes(number) % of.len() as u64;
    &of[usize::try_from(index).expect("an index of a list in memory")]
}

/// The idempotency key of a step: the same in every attempt at this row of this file in this run.
fn key(plan: &Plan, row: Row, step: &str) -> String {
    let digest = u64::from_be_bytes(plan.digest[..8].try_into().expect("eight of 32 bytes"));
    format!("{KEY_PREFIX}-{}-{digest:016x}-{}-{step}", plan.run, row.line)
}

fn refused(row: Row, what: &str, problem: Problem) -> ReplayError {
    ReplayError::Refused { what: format!("line {}, {what}", row.line), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(run: &str) -> Plan {
        let names = |name: &str| (0..10).map(|number| format!("{name}{number}")).collect();
        Plan {
            run: run.into(),
            digest: [7; 32],
            users: names("u"),
            actions: names("a"),
            output_tokens_held: 1,
        }
    }

    fn row(line: u64) -> Row {
        Row { line, input_tokens: 1, output_tokens: 1 }
    }

    #[test]
    fn what_a_row_asks_for_depends_on_plan_and_line_alone() {
        let of = |line| {
            let plan = plan("r");
            let user = pick(&plan.users, &plan, row(line), b"user").to_string();
            (user, key(&plan, row(line), "hold"))
        };
        assert_eq!(of(3), of(3));
        assert_eq!(of(3).1, "replay-r-0707070707070707-3-hold");
        assert_ne!(of(3).1, of(4).1);
        assert_ne!(key(&plan("r"), row(3), "hold"), key(&plan("s"), row(3), "hold"));
        assert_ne!(key(&plan("r"), row(3), "hold"), key(&plan("r"), row(3), "capture"));
    }

    #[test]
    fn rows_are_spread_over_all_users() {
        let plan = plan("r");
        let mut seen: Vec<&str> = (0..200).map(|line| pick(&plan.users, &plan, row(line), b"user")).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), plan.users.len());
    }
}

//! Tests that an error names the side on which it occurred, and that a loop of `read` and `write` fails with
//! the same error.

use super::content::made;
use super::kinds::{End, SINKS, SOURCES, SinkKind, SourceKind, request, sink, source};
use super::movers::{MOVERS, Mover, Outcome};
use super::stage::{Act, play};
use super::sys::{ECONNRESET, EPIPE};
use super::table::{Table, Verdict};
use rawpipe::transfer::Side;
use std::io;

const FAMILY: &str = "side";

pub(crate) fn cases(table: &mut Table) {
    for from in SOURCES {
        for to in SINKS.iter().filter(|to| from.bad || to.bad) {
            for mover in MOVERS.iter().filter(|mover| **mover != Mover::Model) {
                let two = *mover == Mover::FanoutTwo && !from.bad;
                let nothing = match from.end {
                    _ if from.name == "dev_null" && !from.bad => Some("there is nothing to write"),
                    End::Never if two => {
                        Some("the other sink of the fan-out continues without end")
                    }
                    _ => None,
                };
                table.pair(FAMILY, "side", (*mover, from, to), nothing, move || {
                    side(*mover, from, to)
                });
            }
        }
    }
    for (from, to) in [
        ("tcp_reset", "pipe"),
        ("directory", "pipe"),
        ("pty_master_hung", "tmpfs_file"),
        ("tmpfs_file", "dev_full"),
        ("tcp", "dev_full"),
        ("pipe", "broken_pipe"),
        ("tmpfs_file", "broken_unix"),
    ] {
        let (from, to) = (source(from), sink(to));
        table.pair(FAMILY, "side", (Mover::Pump, from, to), None, move || {
            side(Mover::Pump, from, to)
        });
    }
}

/// Runs the mover with a new source and sink, and returns the outcome.
fn outcome(
    mover: Mover,
    from: &'static SourceKind,
    to: &'static SinkKind,
) -> Result<io::Result<Option<Outcome>>, Verdict> {
    let contents = if from.talks() { request(1) } else { from.contents(2 * 4096) };
    let mut scene = made(from, to, mover, &contents)?;
    if from.talks() {
        scene.acts = vec![Act::Say(contents)];
        scene.mover_last = true;
        if mover == Mover::FanoutTwo {
            scene.acts.push(Act::End); // the fan-out serves its second sink until the source ends
        }
    }
    scene.limits.exact = (mover == Mover::Exact).then_some(4096);
    Ok(play(scene).map(|seen| seen.outcome))
}

fn side(mover: Mover, from: &'static SourceKind, to: &'static SinkKind) -> io::Result<Verdict> {
    let both = |from| outcome(Mover::Model, from, to);
    let (model, of_sink, seen) =
        match (both(from), both(source("tmpfs_file")), outcome(mover, from, to)) {
            (Ok(model), Ok(of_sink), Ok(seen)) => (model?, of_sink?, seen?),
            (Err(verdict), ..) | (_, Err(verdict), _) | (.., Err(verdict)) => return Ok(verdict),
        };
    let Some(Outcome { error: Some(expected), .. }) = model else {
        return Ok(Verdict::Fail(format!("a loop of read and write did not fail: {model:?}")));
    };
    let Some(seen) = seen else {
        return Ok(Verdict::Fail(format!("expected {expected:?}; it hung")));
    };
    let mut allowed = vec![expected];
    // If both ends fail, the mover may use either end first.
    if from.bad && to.bad {
        allowed.extend(of_sink.and_then(|outcome| outcome.error));
    }
    // The kernel reports a reset only once. The next write fails with `EPIPE`.
    if to.name == "tcp_reset" && allowed.contains(&(Some(Side::Sink), ECONNRESET)) {
        allowed.push((Some(Side::Sink), EPIPE));
    }
    if mover == Mover::SpliceTo {
        allowed.iter_mut().for_each(|(side, _)| *side = None);
    }
    let right = seen.error.is_some_and(|error| allowed.contains(&error)) && seen.bytes == 0;
    Ok(if right {
        Verdict::Pass
    } else {
        Verdict::Fail(format!("expected {allowed:?} after 0, seen {seen}"))
    })
}

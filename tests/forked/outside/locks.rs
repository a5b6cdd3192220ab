//! Tests the locks of pipes. A mover that waits for one end must not hold the lock of a pipe at the other
//! end. Other processes can then use that pipe, and can be killed.

use super::content::made;
use super::kinds::{SINKS, SOURCES, SinkKind, SourceKind, request};
use super::movers::{MOVERS, Mover};
use super::stage::{Act, Ear, Others, Play, play};
use super::table::{Table, Verdict};
use std::io;
use std::time::Duration;

const FAMILY: &str = "lock";
/// A pause that gives the mover time to start waiting.
const MOMENT: Act = Act::Pause(Duration::from_millis(50));

pub(crate) fn cases(table: &mut Table) {
    let movers = || MOVERS.iter().filter(|mover| **mover != Mover::Discard);
    for from in SOURCES.iter().filter(|kind| kind.talks()) {
        for to in SINKS.iter().filter(|kind| kind.pipe && !kind.bad) {
            for mover in movers() {
                let pair = (*mover, from, to);
                table.pair(FAMILY, "silent_source_locks_no_sink", pair, None, move || silent(pair));
            }
        }
    }
    for from in SOURCES.iter().filter(|kind| kind.pipe && !kind.bad) {
        for to in SINKS.iter().filter(|kind| kind.fills) {
            for mover in movers() {
                let pair = (*mover, from, to);
                let one_call = (*mover == Mover::SpliceTo)
                    .then_some("splice_to is one call, which waits with the lock of its pipe");
                table.pair(FAMILY, "full_sink_locks_no_source", pair, one_call, move || full(pair));
            }
        }
    }
}

type Pair = (Mover, &'static SourceKind, &'static SinkKind);

fn all_said(scene: Play<'_>) -> io::Result<Verdict> {
    let seen = play(Play { until_said: true, ..scene })?;
    let complaint =
        || format!("expected that others use the pipe; they wait (the peer: {})", seen.said);
    Ok(if seen.all_said { Verdict::Pass } else { Verdict::Fail(complaint()) })
}

/// Another process can write to the sink while the source is silent.
fn silent((mover, from, to): Pair) -> io::Result<Verdict> {
    match made(from, to, mover, b"") {
        Ok(scene) => all_said(Play {
            acts: vec![MOMENT, Act::Await],
            others: Others::LateWriter,
            ear: Ear::Open(vec![1]),
            ..scene
        }),
        Err(verdict) => Ok(verdict),
    }
}

/// The peer of the source can write more while the sink is full.
fn full((mover, from, to): Pair) -> io::Result<Verdict> {
    match super::deadlines::made_full(from, to, mover, b"") {
        Ok(scene) => all_said(Play {
            acts: vec![Act::Say(request(1)), MOMENT, Act::Say(request(2))],
            ear: Ear::Deaf,
            ..scene
        }),
        Err(verdict) => Ok(verdict),
    }
}

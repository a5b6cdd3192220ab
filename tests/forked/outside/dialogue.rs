//! Tests a dialogue. The source's peer sends a request, waits until the sink's peer replies, and sends the
//! next request. Each request must arrive before the source provides any further bytes.

use super::content::{compare, complete, judge, made, words};
use super::kinds::{End, SINKS, SOURCES, SinkKind, SourceKind, request, sink, source};
use super::movers::{MOVERS, Mover};
use super::stage::{Act, Ear, Play, play};
use super::table::{Table, Verdict};
use std::io;

/// The number of requests.
const REQUESTS: usize = 3;

pub(crate) fn cases(table: &mut Table) {
    for from in SOURCES.iter().filter(|kind| kind.talks()) {
        for to in SINKS.iter().filter(|kind| kind.heard && !kind.bad) {
            for mover in MOVERS.iter().filter(|mover| **mover != Mover::Discard) {
                let blocks = (to.unit == 4096).then_some("O_DIRECT takes whole blocks");
                let nonsense = words(from, to).or(blocks);
                table.pair("dialogue", "dialogue", (*mover, from, to), nonsense, move || {
                    dialogue(*mover, from, to)
                });
            }
        }
    }
    for from in ["pipe", "unix_stream", "tcp", "tcp_error_queue", "pty_slave_canonical"] {
        for to in ["tmpfs_file", "pipe", "unix_stream", "tcp", "pty_slave"] {
            let (from, to) = (source(from), sink(to));
            table.pair("dialogue", "dialogue", (Mover::Pump, from, to), None, move || {
                dialogue(Mover::Pump, from, to)
            });
        }
    }
}

fn dialogue(mover: Mover, from: &'static SourceKind, to: &'static SinkKind) -> io::Result<Verdict> {
    let mut scene: Play<'_> = match made(from, to, mover, b"") {
        Ok(scene) => scene,
        Err(verdict) => return Ok(verdict),
    };
    let (mut acts, mut gives, mut thresholds) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..REQUESTS {
        gives.extend(from.gives(&request(number)));
        thresholds.push(gives.len());
        acts.extend([Act::Say(request(number)), Act::Await]);
    }
    acts.push(Act::End);
    scene.acts = acts;
    scene.ear = Ear::Open(thresholds);
    scene.limits.exact = (mover == Mover::Exact).then_some(gives.len());
    scene.until_said = from.end == End::Never && mover != Mover::Exact;
    let expected = complete(from, scene.limits.exact, gives.len());
    let open_end = scene.until_said;
    let mut seen = play(scene)?;
    let mut complaints = Vec::new();
    if !seen.all_said {
        complaints.push(format!("expected {REQUESTS} replies; the peer: {}", seen.said));
    }
    if open_end && seen.outcome.is_none() {
        seen.outcome = Some(expected.clone());
        seen.second.clone_from(&gives);
    }
    complaints.extend(compare(mover, &seen, &expected, Some(&gives)));
    Ok(judge(mover, &seen, &complaints))
}

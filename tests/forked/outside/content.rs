//! Tests that all bytes of the source arrive, and that the mover counts them.

use super::kinds::{End, LEN, SINKS, SOURCES, Says, SinkKind, SourceKind, request};
use super::movers::{MOVERS, Mover, Outcome};
use super::stage::{Act, Play, Seen, play};
use super::sys::{EINVAL, EIO};
use super::table::{Table, Verdict};
use rawpipe::transfer::Side;
use std::io;

pub(crate) fn cases(table: &mut Table) {
    for from in SOURCES.iter().filter(|kind| !kind.bad) {
        for to in SINKS.iter().filter(|kind| !kind.bad) {
            for mover in MOVERS {
                let nonsense = nonsense(*mover, from, to);
                table.pair("content", "content", (*mover, from, to), nonsense, move || {
                    content(*mover, from, to)
                });
            }
        }
    }
}

fn nonsense(mover: Mover, from: &SourceKind, to: &SinkKind) -> Option<&'static str> {
    let zeros = matches!(from.name, "dev_zero" | "dev_full");
    if from.end == End::Never && !mover.takes_exact() {
        return Some("the source never ends, and the mover has no limit");
    }
    words(from, to).or_else(|| {
        let blocks = !from.talks() && from.name != "proc_file";
        match to.unit {
            8 if zeros || matches!(from.name, "sparse_file" | "direct_file" | "proc_file") => {
                Some("an eventfd takes one number that is not 0")
            }
            _ if from.unit == 4096 && to.most < LEN => Some("O_DIRECT reads whole blocks"),
            4096 if !blocks => Some("O_DIRECT takes whole blocks"),
            _ if to.lines && (zeros || from.name == "sparse_file") => {
                Some("a line terminal gives whole lines")
            }
            _ => None,
        }
    })
}

/// Returns the reason why the sink cannot accept the bytes of this source, or `None` if the sink can accept
/// them.
pub(crate) fn words(from: &SourceKind, to: &SinkKind) -> Option<&'static str> {
    match from.says {
        Says::Touch if to.unit == 8 => Some("an eventfd adds up what is written to it"),
        Says::Expire | Says::Touch if to.lines => Some("a line terminal gives whole lines"),
        _ => None,
    }
}

/// Returns the expected outcome of a mover that moves `bytes` bytes and then stops. The mover stops at the
/// end of this source, or at its exact count.
pub(crate) fn complete(from: &SourceKind, exact: Option<usize>, bytes: usize) -> Outcome {
    let error = match from.end {
        End::CloseEio if exact.is_none() => Some((Some(Side::Source), EIO)),
        _ => None,
    };
    Outcome { bytes, error, ..Outcome::default() }
}

/// Compares the outcome and the arrived bytes with the expected ones, and returns a complaint for each
/// difference.
pub(crate) fn compare(
    mover: Mover,
    seen: &Seen,
    expected: &Outcome,
    arrived: Option<&[u8]>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    // The error of `splice_to` does not name the failed side.
    let error = match expected.error {
        Some((_, errno)) if mover == Mover::SpliceTo => Some((None, errno)),
        error => error,
    };
    match &seen.outcome {
        None => complaints.push(format!("expected {expected}; it hung (the peer: {})", seen.said)),
        // If `pump` fails, it reports the failure, but not the number of bytes.
        Some(outcome) if mover == Mover::Pump && error.is_some() => {
            if outcome.error != error {
                complaints.push(format!("expected {expected}, seen {outcome}"));
            }
        }
        Some(outcome) => {
            if (outcome.bytes, outcome.error) != (expected.bytes, error) {
                complaints.push(format!("expected {expected}, seen {outcome}"));
            }
        }
    }
    let mut look = |what: &str, bytes: &[u8], arrived: &[u8]| {
        if bytes != arrived {
            let same = bytes.iter().zip(arrived).take_while(|(one, other)| one == other).count();
            complaints.push(format!(
                "expected {} bytes at the {what}, seen {}, the first {same} of them right",
                arrived.len(),
                bytes.len()
            ));
        }
    };
    if let Some(arrived) = arrived {
        look("sink", &seen.arrived, arrived);
    }
    if let Some(arrived) = arrived.filter(|_| mover == Mover::FanoutTwo) {
        look("second sink", &seen.second, arrived);
    }
    complaints
}

/// Creates a source and a sink, or returns a verdict with the reason why they cannot be created.
pub(crate) fn made(
    from: &'static SourceKind,
    to: &'static SinkKind,
    mover: Mover,
    contents: &[u8],
) -> Result<Play<'static>, Verdict> {
    Play::new(from, to, mover, contents).map_err(|error| {
        Verdict::Skip(format!("{} to {} cannot be made: {error}", from.name, to.name))
    })
}

fn content(mover: Mover, from: &'static SourceKind, to: &'static SinkKind) -> io::Result<Verdict> {
    let most = if mover == Mover::SmallChunk { 4 * 4096 } else { usize::MAX };
    let len = from.most.min(to.most).min(most);
    let contents = if len < 64 { request(1) } else { from.contents(len) };
    let contents = if from.name == "dev_null" { Vec::new() } else { contents };
    let mut scene = match made(from, to, mover, &contents) {
        Ok(scene) => scene,
        Err(verdict) => return Ok(verdict),
    };
    let gives = from.gives(&contents);
    if mover == Mover::Exact || from.end == End::Never {
        scene.limits.exact = Some(gives.len());
    }
    if from.talks() {
        scene.acts = vec![Act::Say(contents), Act::End];
    }
    let expected = complete(from, scene.limits.exact, gives.len());
    let seen = play(scene)?;
    let arrived = to.heard.then_some(gives.as_slice());
    Ok(judge(mover, &seen, &compare(mover, &seen, &expected, arrived)))
}

/// Returns the verdict of a case. A case of `splice_to` is skipped if this kernel cannot splice to the sink.
pub(crate) fn judge(mover: Mover, seen: &Seen, complaints: &[String]) -> Verdict {
    match &seen.outcome {
        Some(Outcome { bytes: 0, error: Some((None, EINVAL)), .. }) if mover == Mover::SpliceTo => {
            Verdict::Skip("the kernel does not splice to this sink".into())
        }
        _ => Verdict::of(complaints),
    }
}

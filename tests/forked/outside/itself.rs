//! Tests transfers within one file or one pipe. A transfer within a pipe is rejected. An unlimited transfer
//! within a file is rejected if the sink's position is not before the source's position.

use super::content::made;
use super::kinds::{Made, Near, look_at, sink, source, text};
use super::movers::{MOVERS, Mover, Outcome};
use super::stage::{Act, play};
use super::sys::{self, EINVAL};
use super::table::{Table, Verdict};
use crate::common;
use rawpipe::transfer::Side;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};

const FAMILY: &str = "itself";
const LEN: usize = 10_000;

/// A case in which one file is both the source and the sink.
struct Row {
    name: &'static str,
    /// The position of the source.
    from: u64,
    /// The position of the sink, or `None` in append mode.
    to: Option<u64>,
    exact: Option<usize>,
    /// The number of bytes that are moved, or `None` if the transfer is rejected.
    moves: Option<usize>,
}

const ROW: Row = Row { name: "", from: 0, to: None, exact: None, moves: None };

const ROWS: &[Row] = &[
    Row { name: "append", ..ROW },
    Row { name: "append_midway", from: 5000, ..ROW },
    Row { name: "position_after", to: Some(4096), ..ROW },
    Row { name: "position_at_the_end", to: Some(10_000), ..ROW },
    Row { name: "position_the_same", from: 100, to: Some(100), ..ROW },
    Row { name: "position_before", from: 6000, to: Some(0), moves: Some(4000), ..ROW },
    Row { name: "append_bounded", exact: Some(5000), moves: Some(5000), ..ROW },
    Row { name: "append_bounded_beyond_the_end", exact: Some(25_000), moves: Some(25_000), ..ROW },
    Row {
        name: "position_after_bounded",
        to: Some(8000),
        exact: Some(4000),
        moves: Some(4000),
        ..ROW
    },
];

pub(crate) fn cases(table: &mut Table) {
    let movers =
        || MOVERS.iter().filter(|mover| !matches!(mover, Mover::SpliceTo | Mover::Discard));
    for row in ROWS {
        for mover in movers() {
            let endless = *mover == Mover::Model && row.moves.is_none();
            if endless || (row.exact.is_some() && !mover.takes_exact()) {
                continue;
            }
            // Without an exact count, the mover `Exact` is the same as `Transfer`.
            if row.exact.is_none() && *mover == Mover::Exact {
                continue;
            }
            let name = format!("{}_itself_{}", mover.name(), row.name);
            table.add(FAMILY, name, move || one_file(*mover, row));
        }
    }
    for kind in ["pipe", "page_pipe", "packet_pipe", "fifo_twice"] {
        for mover in movers().filter(|mover| **mover != Mover::Model) {
            let name = format!("{}_itself_{kind}", mover.name());
            table.add(FAMILY, name, move || one_pipe(*mover, kind));
        }
    }
}

fn complain(seen: Option<&Outcome>, mover: Mover) -> Option<String> {
    let refused = |outcome: &Outcome| match outcome.error {
        Some((_, EINVAL)) if matches!(mover, Mover::Fanout | Mover::FanoutTwo) => {
            outcome.bytes == 0
        }
        Some((Some(Side::Sink), EINVAL)) => outcome.bytes == 0,
        _ => false,
    };
    match seen {
        None => Some("expected EINVAL; it hung".into()),
        Some(outcome) if refused(outcome) => None,
        Some(outcome) => Some(format!("expected EINVAL of the sink after 0, seen {outcome}")),
    }
}

fn one_file(mover: Mover, row: &Row) -> io::Result<Verdict> {
    let contents = text(LEN);
    let path = common::tmp_path();
    fs::write(&path, &contents)?;
    let mut from = File::open(&path)?;
    from.seek(SeekFrom::Start(row.from))?;
    let to = match row.to {
        None => File::options().append(true).open(&path)?,
        Some(position) => {
            let mut file = File::options().write(true).open(&path)?;
            file.seek(SeekFrom::Start(position))?;
            file
        }
    };
    let mut after = File::from(look_at(&to)?);
    fs::remove_file(&path)?;

    let mut scene = match made(source("tmpfs_file"), sink("dev_null"), mover, b"") {
        Ok(scene) => scene,
        Err(verdict) => return Ok(verdict),
    };
    scene.source = Made { near: Near::Open(from.into()), far: None, begin: 0 };
    scene.sink = Made { near: Near::Open(to.into()), far: None, begin: 0 };
    scene.limits.exact = row.exact;
    let seen = play(scene)?.outcome;
    let mut is = Vec::new();
    after.read_to_end(&mut is)?;

    let mut complaints = Vec::new();
    let mut expected = contents;
    match row.moves {
        None => complaints.extend(complain(seen.as_ref(), mover)),
        Some(moves) => {
            // The expected bytes are copied one at a time, because the mover may read bytes that it has
            // written.
            let at = row.to.map_or(LEN, |to| usize::try_from(to).unwrap_or(0));
            let begin = usize::try_from(row.from).unwrap_or(0);
            expected.resize(LEN.max(at + moves), 0);
            (0..moves).for_each(|step| expected[at + step] = expected[begin + step]);
            match seen {
                Some(Outcome { bytes, error: None, .. }) if bytes == moves => {}
                Some(outcome) => complaints.push(format!("expected Ok({moves}), seen {outcome}")),
                None => complaints.push(format!("expected Ok({moves}); it hung")),
            }
        }
    }
    if is != expected {
        let same = is.iter().zip(&expected).take_while(|(one, other)| one == other).count();
        complaints.push(format!(
            "expected a file of {} bytes, seen {}, the first {same} of them right",
            expected.len(),
            is.len()
        ));
    }
    Ok(Verdict::of(&complaints))
}

/// Tests that a transfer from a pipe to the same pipe is rejected. The pipe holds data, and never reports end
/// of file, because its write end stays open.
fn one_pipe(mover: Mover, kind: &str) -> io::Result<Verdict> {
    let mut scene = match made(source("pipe"), sink("dev_null"), mover, b"") {
        Ok(scene) => scene,
        Err(verdict) => return Ok(verdict),
    };
    let (reader, writer) = match kind {
        "fifo_twice" => {
            let path = common::tmp_path();
            sys::fifo(&path)?;
            let open = || File::options().read(true).write(true).open(&path);
            let both = (open(), open());
            fs::remove_file(&path)?;
            (both.0?.into(), both.1?.into())
        }
        "packet_pipe" => sys::pipe(sys::O_DIRECT)?,
        _ => sys::pipe(0)?,
    };
    if kind == "page_pipe" {
        sys::set_pipe_size(&reader, 1)?;
    }
    let far = writer.try_clone()?;
    scene.source = Made { near: Near::Open(reader), far: Some(far), begin: 0 };
    scene.sink = Made { near: Near::Open(writer), far: None, begin: 0 };
    scene.acts = vec![Act::Say(b"round and round".to_vec())];
    scene.mover_last = true;
    if mover == Mover::Exact {
        scene.limits.exact = Some(10);
    }
    let seen = play(scene)?.outcome;
    Ok(Verdict::of(&Vec::from_iter(complain(seen.as_ref(), mover))))
}

//! Tests that a transfer ends at the end of its source, and not at TCP's urgent mark or at an empty datagram.
//! A reset connection is an error of the source. A mover must read end of file only once, because a terminal
//! reports its end of file only once.

use super::content::{compare, made};
use super::kinds::{SinkKind, SourceKind, sink, source};
use super::movers::{MOVERS, Mover, Outcome};
use super::stage::{Act, play};
use super::sys::ECONNRESET;
use super::table::{Table, Verdict};
use rawpipe::transfer::Side;
use std::io;
use std::time::Duration;

/// One row of the test table: a source and the way in which it ends.
struct Row {
    name: &'static str,
    from: &'static str,
    acts: fn() -> Vec<Act>,
    /// True if everything is written before the mover starts. Otherwise the speaker writes while the
    /// mover runs.
    queued: bool,
    gives: &'static str,
    error: Option<(Option<Side>, i32)>,
    left: &'static str,
    /// True if a loop of `read` and `write` also handles this end correctly.
    naive: bool,
}

const PAUSE: Act = Act::Pause(Duration::from_millis(30));

fn message(text: &str) -> Act {
    Act::Say(text.as_bytes().to_vec())
}

const ROW: Row = Row {
    name: "",
    from: "",
    acts: Vec::new,
    queued: true,
    gives: "",
    error: None,
    left: "",
    naive: true,
};

const ROWS: &[Row] = &[
    Row {
        name: "urgent",
        from: "tcp",
        acts: || vec![message("before"), Act::Urgent(b'!'), message("after"), Act::End],
        gives: "beforeafter",
        ..ROW
    },
    Row {
        name: "urgent_live",
        from: "tcp",
        acts: || {
            vec![
                message("before"),
                PAUSE,
                Act::Urgent(b'!'),
                PAUSE,
                message("after"),
                PAUSE,
                Act::End,
            ]
        },
        gives: "beforeafter",
        queued: false,
        ..ROW
    },
    Row {
        name: "urgent_first",
        from: "tcp",
        acts: || vec![Act::Urgent(b'!'), message("after"), Act::End],
        gives: "after",
        ..ROW
    },
    Row {
        name: "empty_datagram",
        from: "unix_datagram",
        acts: || vec![message("one"), Act::Empty, message("two"), Act::End],
        gives: "onetwo",
        naive: false,
        ..ROW
    },
    Row {
        name: "empty_datagram_live",
        from: "unix_datagram",
        acts: || vec![message("one"), PAUSE, Act::Empty, PAUSE, message("two"), PAUSE, Act::End],
        gives: "onetwo",
        naive: false,
        queued: false,
        ..ROW
    },
    Row {
        name: "empty_packet",
        from: "unix_seqpacket",
        acts: || vec![message("one"), Act::Empty, message("two"), Act::End],
        gives: "onetwo",
        naive: false,
        ..ROW
    },
    Row {
        name: "empty_packet_live",
        from: "unix_seqpacket",
        acts: || vec![message("one"), PAUSE, Act::Empty, PAUSE, message("two"), PAUSE, Act::End],
        gives: "onetwo",
        naive: false,
        queued: false,
        ..ROW
    },
    Row {
        name: "control_d",
        from: "pty_slave_canonical",
        acts: || vec![message("line one\n"), Act::ControlD, message("line two\n")],
        gives: "line one\n",
        left: "line two\n",
        ..ROW
    },
    Row {
        name: "control_d_live",
        from: "pty_slave_canonical",
        acts: || vec![message("line one\n"), PAUSE, Act::ControlD],
        gives: "line one\n",
        queued: false,
        ..ROW
    },
    Row {
        name: "control_d_at_once",
        from: "pty_slave_canonical",
        acts: || vec![Act::ControlD, message("unread\n")],
        left: "unread\n",
        ..ROW
    },
    Row {
        name: "control_d_within_a_line",
        from: "pty_slave_canonical",
        acts: || {
            vec![
                message("abc"),
                Act::ControlD,
                message("def\n"),
                Act::ControlD,
                message("unread\n"),
            ]
        },
        gives: "abcdef\n",
        left: "unread\n",
        ..ROW
    },
    Row {
        name: "half_closed",
        from: "tcp",
        acts: || vec![message("all of it"), Act::HalfClose],
        gives: "all of it",
        ..ROW
    },
    Row {
        name: "half_closed_live",
        from: "unix_stream",
        acts: || vec![message("all of it"), PAUSE, Act::HalfClose],
        gives: "all of it",
        queued: false,
        ..ROW
    },
    Row {
        name: "reset",
        from: "tcp",
        acts: || vec![message("before it"), PAUSE, Act::Reset, PAUSE],
        gives: "before it",
        error: Some((Some(Side::Source), ECONNRESET)),
        queued: false,
        ..ROW
    },
];

pub(crate) fn cases(table: &mut Table) {
    for row in ROWS {
        for to in [
            "tmpfs_file",
            "append_file",
            "pipe",
            "fifo",
            "unix_stream",
            "tcp",
            "pty_slave",
            "dev_null",
        ] {
            for mover in MOVERS.iter().chain(&[Mover::Pump]) {
                let what = format!("end_{}", row.name);
                let pair = (*mover, source(row.from), sink(to));
                let naive = (*mover == Mover::Model && !row.naive)
                    .then_some("a loop of read and write does not see it");
                table.pair("end", &what, pair, naive, move || end(row, *mover, pair.1, pair.2));
            }
        }
    }
}

fn end(
    row: &Row,
    mover: Mover,
    from: &'static SourceKind,
    to: &'static SinkKind,
) -> io::Result<Verdict> {
    let mut scene = match made(from, to, mover, b"") {
        Ok(scene) => scene,
        Err(verdict) => return Ok(verdict),
    };
    scene.acts = (row.acts)();
    scene.mover_last = row.queued;
    let exact = (mover == Mover::Exact).then_some(row.gives.len());
    scene.limits.exact = exact;
    // A mover with an exact count does not read the end of file.
    scene.look_at_rest = exact.is_none() && mover != Mover::SpliceTo;
    let (look, heard) = (scene.look_at_rest, to.heard);
    let error = row.error.filter(|_| exact.is_none());
    let expected = Outcome { bytes: row.gives.len(), error, ..Outcome::default() };
    let seen = play(scene)?;
    let mut complaints = compare(mover, &seen, &expected, heard.then_some(row.gives.as_bytes()));
    if let Some(outcome) =
        seen.outcome.filter(|outcome| look && outcome.left != row.left.as_bytes())
    {
        let left = String::from_utf8_lossy(&outcome.left).into_owned();
        complaints.push(format!("expected {:?} left in the source, seen {left:?}", row.left));
    }
    Ok(Verdict::of(&complaints))
}

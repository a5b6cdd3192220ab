//! Tests chunks in shared memory between processes and between threads. Each test runs in its own process.
//!
//! `RAWPIPE_TEST_KILLS` sets how often each side is killed (by default 30). `RAWPIPE_TRANSFER_BYTES` sets the
//! number of bytes that are sent while signals arrive (by default 64 MiB). `RAWPIPE_MODEL_OPERATIONS` sets
//! the number of operations of the model (by default 100,000). If `common::slow` returns true, each default
//! is a twentieth of the number above. `RAWPIPE_MODEL_SEED` sets the model's seed, so that a run can be
//! repeated.
#![allow(unsafe_code, reason = "fork, limits, shared words, and system calls by number")]

mod copies;
mod fork;
mod hostile;
mod kill;
mod limits;
mod model;
mod readiness;
mod records;
mod waiting;

use crate::common::{self, skip};
use rawpipe::Errno;
use rawpipe::chunk::shared;
use rawpipe::chunk::shared::{SharedReader, SharedWriter};
use rawpipe::process::Child;
use std::{env, fs, ptr};

use copies::*;
use fork::*;
use hostile::*;
use kill::*;
use limits::*;
use model::*;
use readiness::*;
use records::*;
use waiting::*;

/// Returns whether this system can create pairs. Skips the test if it cannot. No pair can be created if
/// memory is not wiped in a forked child, as on Linux before 4.14 or under a user-mode emulator.
fn supported() -> bool {
    match shared() {
        Ok(_) => true,
        Err(errno) => {
            assert_eq!(errno, Errno::EOPNOTSUPP);
            skip(&common::name_alone(), "no memory that is wiped in a forked child");
            false
        }
    }
}

fn times(full: usize) -> usize {
    if common::slow() { full.div_ceil(20) } else { full }
}

/// Fills a chunk with words that no other record has at the same offset.
fn fill(chunk: &mut [u8], number: usize) {
    for (index, place) in chunk.chunks_mut(8).enumerate() {
        let word = (number.wrapping_mul(0x9e37_79b9) ^ index).wrapping_add(1) as u64;
        place.copy_from_slice(&word.to_le_bytes()[..place.len()]);
    }
}

fn is_filled(chunk: &[u8], number: usize) -> bool {
    let mut expected = vec![0; chunk.len()];
    fill(&mut expected, number);
    chunk == expected
}

/// Returns the length of a record. The lengths vary from one byte to a whole chunk.
fn len_of(number: usize, chunk: usize) -> usize {
    1 + number.wrapping_mul(0x9e37_79b9).wrapping_add(number >> 3) % chunk
}

fn send(writer: &mut SharedWriter, len: usize, number: usize) -> rawpipe::Result<()> {
    fill(&mut writer.chunk()?[..len], number);
    writer.send(len)
}

fn send_all(mut writer: SharedWriter, chunk: usize, records: usize) -> rawpipe::Result<()> {
    (0..records).try_for_each(|number| send(&mut writer, len_of(number, chunk), number))
}

/// Receives and checks all records. Returns the number of records.
fn receive_all(reader: &mut SharedReader, chunk: usize) -> rawpipe::Result<usize> {
    let mut number = 0;
    while let Some(record) = reader.recv()? {
        assert_eq!(record.len(), len_of(number, chunk), "{number}");
        assert!(is_filled(&record, number), "{number}");
        number += 1;
    }
    Ok(number)
}

/// Returns the child's copy of a half.
///
/// # Safety
///
/// The caller must be a child process that never uses the original.
unsafe fn in_child<Half>(half: &mut Half) -> Half {
    // SAFETY: the caller never uses the original.
    unsafe { ptr::read(half) }
}

fn succeeds(mut child: Child) {
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Each entry holds a chunk size and a ring size in bytes. The smallest possible ring comes first. The
/// largest ring has 8 MiB, and exceeds most second-level caches.
const SIZES: [(usize, usize); 6] =
    [(1, 1), (8, 1), (100, 4096), (4096, 1), (65536, 0), (65536, 8 << 20)];

/// Returns the number in an environment variable, if the variable is set.
fn asked_for(name: &str) -> Option<usize> {
    env::var(name).ok().map(|number| number.parse().expect("a number"))
}

/// Returns the mappings of this process except the heap and the stack. Under a tool, returns only shared
/// mappings, because the tool maps private memory itself.
fn mappings() -> Vec<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let own = |line: &&str| match common::tool() {
        Some(_) => line.contains("/dev/zero"),
        None => !line.ends_with("[heap]") && !line.ends_with("[stack]"),
    };
    maps.lines().filter(own).map(str::to_owned).collect()
}

pub(crate) const TESTS: common::Tests = common::tests![
    records_arrive_in_a_child_and_from_one,
    records_arrive_in_a_thread,
    std_traits_copy_nothing_twice_and_lose_nothing,
    guard_leaked_gives_its_room_back_later,
    unused_half_dropped_is_the_end,
    signals_interrupt_nothing,
    memory_is_the_pairs_own,
    example_sums_on_both_sides,
    model_beside_a_queue,
    writer_killed_leaves_whole_records_and_an_end,
    reader_killed_epipe,
    killed_asleep_each_side,
    killed_with_something_lent,
    fork_half_belongs_to_who_uses_it_first,
    fork_two_children_one_owner,
    fork_parent_and_child_one_owner,
    fork_each_process_uses_one_half,
    fork_while_a_thread_takes_the_half,
    fork_lent_before_stays_with_the_parent,
    fork_copies_dropped_in_each_order,
    fork_owners_and_orders_of_drops,
    release_hands_the_reader_over,
    release_hands_the_writer_from_child_to_child,
    third_process_with_all_ends_does_not_hide_a_drop,
    third_process_with_all_ends_hides_a_death_until_it_ends,
    readiness_after_eagain_on_both_sides,
    readiness_is_the_same_by_select_and_epoll,
    readiness_hup_on_each_side,
    readiness_arms_and_withdrawals_leave_one_byte_at_most,
    readiness_drives_a_loop_of_events,
    deadline_passes_with_a_silent_peer,
    deadline_passes_with_a_stopped_peer,
    dialogue_over_two_pairs,
    awake_sides_make_no_system_call,
    out_of_descriptors_emfile_leaves_nothing,
    out_of_memory_enomem,
    out_of_promised_memory_enomem,
    file_size_limit_plays_no_part,
    calls_refused_leave_nothing,
    advice_refused_makes_no_pair,
    hostile_positions_eproto_for_good,
    hostile_lengths_eproto_for_good,
    hostile_words_lend_nothing_outside_the_ring,
    hostile_bells_deadline_passes,
];

//! Tests a half of a shared pair whose peer misbehaves. Between the calls of the half, the peer stores
//! arbitrary words in the control words and in the ring, and rings the bell. A pair is created by `build`,
//! created for two programs, or adopted from another program. If `build` created the pair, the peer disturbs
//! both halves.
//!
//! Each call must return bytes within the ring or an error that its documentation names. No call may panic. A
//! half that has failed with `EPROTO` must also fail with `EPROTO` in all later calls. When the peer has
//! closed, calls that wait without a deadline must return.
#![no_main]

#[allow(dead_code, reason = "the tests of the crate need more of it")]
#[path = "../../../tests/common/shared.rs"]
mod outside;
mod world;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rawpipe::{Deadline, Errno};
use std::time::Duration;
use world::{Kind, World};

#[derive(Arbitrary, Debug)]
struct Case {
    kind: Kind,
    chunk: u16,
    /// If set, the ring has two pages instead of one.
    large: bool,
    /// The words that are stored before a half from another program is adopted.
    before: Vec<Store>,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Value {
    Any(u64),
    Units(i8),
    Small(u8),
    Largest(u8),
    NearRing(i8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Store {
    Control(u8, Value),
    Length(u8, Value),
    InRing(u16, Value),
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Store(Store),
    Bells(u8),
    Chunk { waits: bool },
    Send(u16),
    Receive { waits: bool, short: bool },
    Forget,
    Consume(u16),
}

impl Value {
    fn of(self, ring: usize) -> usize {
        match self {
            Self::Any(value) => value as usize,
            Self::Units(units) => (16 * isize::from(units)) as usize,
            Self::Small(value) => value.into(),
            Self::Largest(less) => usize::MAX - usize::from(less),
            Self::NearRing(more) => ring.wrapping_add_signed(more.into()),
        }
    }
}

fn store(world: &World, ring: usize, what: Store) {
    const UNIT: usize = 16;
    match what {
        Store::Control(word, value) => {
            let known = [&outside::CONTROL[..], &[512, 512 + outside::WORD]].concat();
            world.store(known[usize::from(word) % known.len()], value.of(ring));
        }
        Store::Length(unit, value) => {
            world.store_in_ring(usize::from(unit) * UNIT % ring + UNIT - 8, value.of(ring));
        }
        Store::InRing(word, value) => {
            world.store_in_ring(usize::from(word) * outside::WORD % ring, value.of(ring));
        }
    }
}

/// The state of a half, which determines the errors that its calls may return.
struct Half {
    broken: bool,
}

impl Half {
    fn fails(&mut self, errno: Errno, known: &[Errno]) {
        use Errno as E;
        let always = [E::EBUSY, E::EPROTO];
        assert!(always.contains(&errno) || known.contains(&errno), "{errno}");
        assert!(!self.broken || errno == Errno::EPROTO, "{errno} after EPROTO");
        self.broken |= errno == Errno::EPROTO;
    }

    fn works(&self) {
        assert!(!self.broken, "a success after EPROTO");
    }
}

fn until(waits: bool) -> Option<Deadline<'static>> {
    waits.then(|| Deadline::after(Duration::ZERO))
}

fuzz_target!(|case: Case| {
    let chunk = 1 + usize::from(case.chunk) % 1500;
    let ring = if case.large { 16384 } else { 8192 };
    let before = |world: &World| case.before.iter().for_each(|what| store(world, ring, *what));
    let Some(mut world) = World::new(case.kind, chunk, ring, before) else { return };
    let (mut reads, mut writes) = (Half { broken: false }, Half { broken: false });
    for operation in &case.operations {
        match operation {
            Operation::Store(what) => store(&world, ring, *what),
            Operation::Bells(bytes) => world.ring_bells((*bytes).into()),
            Operation::Chunk { waits } => match world.chunk(until(*waits)) {
                Some(Ok(())) => writes.works(),
                Some(Err(errno)) => {
                    writes.fails(errno, &[Errno::EAGAIN, Errno::ETIMEDOUT, Errno::EPIPE]);
                }
                None => {}
            },
            Operation::Send(len) => match world.send((*len).into()) {
                Some(Ok(())) if *len > 0 => writes.works(),
                Some(Err(errno)) => writes.fails(errno, &[Errno::EINVAL, Errno::EPIPE]),
                _ => {}
            },
            Operation::Receive { waits, short } => match world.receive(until(*waits), *short) {
                Some(Ok(_)) => reads.works(),
                Some(Err(errno)) => {
                    reads.fails(errno, &[Errno::EAGAIN, Errno::ETIMEDOUT, Errno::EMSGSIZE]);
                }
                None => {}
            },
            Operation::Forget => world.forget(),
            Operation::Consume(amount) => world.consume((*amount).into()),
        }
    }
    world.end(ring);
});

//! Tests that run under the standard harness, in the threads of one process. No test forks or changes the
//! state of the whole process.
#![allow(
    clashing_extern_declarations,
    reason = "each topic declares the C functions that it calls"
)]

mod api;
mod chunk;
#[cfg(feature = "std")]
#[path = "../common/mod.rs"]
mod common;
mod epoll;
mod errors;
mod fanout;
mod io;
mod message;
mod message_batches;
mod model;
mod parity;
mod parity_shared;
mod pipe;
mod poll;
mod read_to_end;
#[cfg(feature = "full")]
mod scenarios;
mod splice;
mod streams;
mod timed;
mod transfer;
mod transfer_peers;

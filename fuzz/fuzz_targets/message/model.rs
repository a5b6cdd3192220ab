//! The decoder of the model: a queue of bytes in which a length precedes each message.

use rawpipe::Errno;
use rawpipe::message::MessageError;
use std::collections::VecDeque;

/// The expected result of a call that receives a message.
#[derive(Debug)]
pub(crate) enum Answer {
    Message(Vec<u8>),
    End,
    /// The deadline passes because the message is incomplete.
    NotYet,
    TooLong(u64),
    BufferTooShort(usize),
    NoMemory,
    Truncated,
}

impl Answer {
    pub(crate) fn error(&self) -> Option<MessageError> {
        match self {
            Self::Message(_) | Self::End => None,
            Self::NotYet => Some(MessageError::Io(Errno::ETIMEDOUT)),
            Self::TooLong(len) => Some(MessageError::TooLong(*len)),
            Self::BufferTooShort(len) => Some(MessageError::BufferTooShort(*len)),
            Self::NoMemory => Some(MessageError::Io(Errno::ENOMEM)),
            Self::Truncated => Some(MessageError::Truncated),
        }
    }
}

pub(crate) struct Decoder {
    limit: usize,
    /// The bytes in the pipe.
    pipe: VecDeque<u8>,
    closed: bool,
    /// The bytes of an incomplete message that were read from the pipe, including the header.
    taken: Vec<u8>,
    /// The length of the message that the last call received.
    last_len: usize,
}

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, pipe: VecDeque::new(), closed: false, taken: Vec::new(), last_len: 0 }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn arrived(&mut self, bytes: impl Iterator<Item = u8>) {
        self.pipe.extend(bytes);
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    pub(crate) fn unread(&self) -> usize {
        self.pipe.len()
    }

    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.pipe.drain(..).collect()
    }

    pub(crate) fn is_within_message(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Returns whether any byte of a message's body was read.
    pub(crate) fn has_part(&self) -> bool {
        self.taken.len() > 8
    }

    pub(crate) fn last_len(&self) -> usize {
        self.last_len
    }

    /// Returns whether the length of the current message exceeds the limit.
    pub(crate) fn refuses(&self) -> bool {
        matches!(self.announced(), Some(Err(_)))
    }

    /// Returns the length in the header if the header was read, or an error if the length exceeds the limit.
    fn announced(&self) -> Option<Result<usize, u64>> {
        let header = self.taken.get(..8)?;
        let len = header.iter().rev().fold(0, |len, byte| len << 8 | u64::from(*byte));
        Some(if len > self.limit as u64 { Err(len) } else { Ok(usize::try_from(len).unwrap()) })
    }

    /// Reads bytes from the pipe until `taken` holds `len` bytes. Returns `false` if the pipe has too few
    /// bytes.
    fn take_up_to(&mut self, len: usize) -> bool {
        while self.taken.len() < len {
            match self.pipe.pop_front() {
                Some(byte) => self.taken.push(byte),
                None => return false,
            }
        }
        true
    }

    fn short(&self) -> Answer {
        match (self.closed, self.taken.is_empty()) {
            (false, _) => Answer::NotYet,
            (true, true) => Answer::End,
            (true, false) => Answer::Truncated,
        }
    }

    fn message(&mut self, room: impl FnOnce(usize) -> Option<Answer>) -> Answer {
        self.last_len = 0;
        if !self.take_up_to(8) {
            return self.short();
        }
        let len = match self.announced() {
            Some(Ok(len)) => len,
            Some(Err(len)) => return Answer::TooLong(len),
            None => unreachable!("the header is there"),
        };
        self.last_len = len;
        if let Some(result) = room(len) {
            return result;
        }
        if !self.take_up_to(8 + len) {
            return self.short();
        }
        Answer::Message(std::mem::take(&mut self.taken).split_off(8))
    }

    /// Receives a message, using at most `memory` bytes of memory.
    pub(crate) fn recv(&mut self, memory: usize) -> Answer {
        self.message(|len| (len > memory).then_some(Answer::NoMemory))
    }

    pub(crate) fn recv_into(&mut self, room: usize) -> Answer {
        self.message(|len| (len > room).then_some(Answer::BufferTooShort(len)))
    }
}

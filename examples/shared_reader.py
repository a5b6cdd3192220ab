"""The reader of shared chunks in Python, which `examples/shared_python.rs` starts.

Its descriptors are 3 to 6: the control page, the ring, the pipe that wakes the reader, and the pipe that wakes the
writer. The documentation of `rawpipe::chunk::shared` describes the layout of the memory.
"""

import contextlib
import mmap
import os
import select
import struct

WORD = struct.calcsize("N")
UNIT = 16
WRAP = 1 << 8 * WORD  # positions wrap around at this value
SKIP = WRAP - 1
READER, WRITER = 0, 256  # the offset of each half's words; within these:
POSITION, WANTS, STATE = 0, 128, 128 + WORD
OWNED, CLOSED = 1, 2
FORMAT = 512

# Python has no memory fence. This call enters the kernel's scheduler, which starts with a fence.
fence = os.sched_yield


class Reader:
    def __init__(self, control, ring, heard, bell):
        self.control = mmap.mmap(control, mmap.PAGESIZE)
        self.size = os.fstat(ring).st_size
        self.ring = memoryview(mmap.mmap(ring, self.size, prot=mmap.PROT_READ))
        self.heard, self.bell, self.at = heard, bell, 0
        if self.load(FORMAT) != 0x72700100 | WORD:
            raise ValueError("the memory was made by another version")
        self.store(READER + STATE, OWNED)

    def load(self, place):
        return struct.unpack_from("N", self.control, place)[0]

    def store(self, place, value):
        struct.pack_into("N", self.control, place, value)

    def header(self, position):
        return struct.unpack_from("N", self.ring, (position - 8) % self.size)[0]

    def wait(self):
        """Waits for a record. Returns False at end of file."""
        gone = False
        while self.load(WRITER + POSITION) == self.at:
            if gone:
                return False
            self.store(READER + WANTS, (self.at + UNIT) % WRAP | 1)
            fence()
            gone = self.load(WRITER + STATE) == CLOSED
            if not gone and self.load(WRITER + POSITION) == self.at:
                select.select([self.heard], [], [])
                gone = os.read(self.heard, 64) == b""
        self.store(READER + WANTS, 0)
        return True

    def __iter__(self):
        while self.wait():
            start, length = self.at, self.header(self.at)
            if length == SKIP:
                start = (start // self.size + 1) * self.size
                length = self.header(start)
            place = start % self.size
            yield self.ring[place : place + length]
            self.give_back((start + (length + 8 + UNIT - 1) // UNIT * UNIT) % WRAP)

    def give_back(self, position):
        self.at = position
        self.store(READER + POSITION, position)
        fence()
        wanted = self.load(WRITER + WANTS)
        if wanted and (position - (wanted - 1)) % WRAP < WRAP // 2:
            self.store(WRITER + WANTS, 0)
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(self.bell, b"\0")


if __name__ == "__main__":
    records, total = 0, 0
    for record in Reader(3, 4, 5, 6):
        records += 1
        total += sum(record.cast("Q"))
    print(f"Python has received {records} records with the sum {total}")

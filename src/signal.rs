//! Defines signals by name, and sets of signals. The numbers of some signals differ between architectures.

use crate::sys::abi::{self, SigSet};
use core::fmt;

/// A signal, such as [`Signal::TERM`].
///
/// Real-time signals, which have only numbers, are also supported.
///
/// # Examples
///
/// ```
/// use rawpipe::process::Signal;
///
/// assert_eq!(Signal::KILL.as_raw(), 9);
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// assert_eq!(Signal::from_raw(15), Some(Signal::TERM));
/// assert_eq!(Signal::from_raw(40).unwrap().to_string(), "signal 40");
/// assert_eq!(Signal::from_raw(0), None);
/// ```
///
/// [signal(7)](https://man7.org/linux/man-pages/man7/signal.7.html)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// Each line defines one signal: its constant, its name, three numbers, and its meaning. The numbers apply to
/// most architectures, to MIPS and to SPARC, in this order.
macro_rules! signals {
    ($($name:ident $full:literal $other:literal $mips:literal $sparc:literal $meaning:literal;)*) => {
        impl Signal {
            $(
                #[doc = concat!("`", $full, "`: ", $meaning, ".")]
                pub const $name: Self = Self(
                    if abi::MIPS { $mips } else if abi::SPARC { $sparc } else { $other }
                );
            )*

            /// Returns the name of the constant in C, such as `"SIGTERM"`, or `None` for a signal for which
            /// this type has no constant.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($full),)*
                    _ => None,
                }
            }
        }

        /// The name and the signal of each line. A test compares these entries with the C headers.
        #[cfg(test)]
        pub(crate) const ALL: &[(&str, Signal)] = &[$(($full, Signal::$name)),*];
    };
}

signals! {
    HUP     "SIGHUP"      1  1  1 "the terminal has closed, or a daemon should reload its configuration";
    INT     "SIGINT"      2  2  2 "interrupt from the keyboard";
    QUIT    "SIGQUIT"     3  3  3 "quit from the keyboard, with a core dump";
    ILL     "SIGILL"      4  4  4 "an instruction that does not exist";
    TRAP    "SIGTRAP"     5  5  5 "a breakpoint of a debugger";
    ABRT    "SIGABRT"     6  6  6 "the program has called `abort`";
    BUS     "SIGBUS"      7 10 10 "an access to a mapped address that has no memory";
    FPE     "SIGFPE"      8  8  8 "an arithmetic error, such as a division by zero";
    KILL    "SIGKILL"     9  9  9 "ends the process; cannot be caught, blocked or ignored";
    USR1    "SIGUSR1"    10 16 30 "for the program's own use";
    SEGV    "SIGSEGV"    11 11 11 "an access to memory that is not mapped or not allowed";
    USR2    "SIGUSR2"    12 17 31 "for the program's own use";
    PIPE    "SIGPIPE"    13 13 13 "a write to a pipe or socket without a reader";
    ALRM    "SIGALRM"    14 14 14 "the timer of `alarm` has run out";
    TERM    "SIGTERM"    15 15 15 "a request to end";
    CHLD    "SIGCHLD"    17 18 20 "a child has ended, stopped or continued";
    CONT    "SIGCONT"    18 25 19 "continue after a stop";
    STOP    "SIGSTOP"    19 23 17 "stops the process; cannot be caught, blocked or ignored";
    TSTP    "SIGTSTP"    20 24 18 "stop from the keyboard";
    TTIN    "SIGTTIN"    21 26 21 "a read from the terminal in the background";
    TTOU    "SIGTTOU"    22 27 22 "a write to the terminal in the background";
    URG     "SIGURG"     23 21 16 "urgent data on a socket";
    XCPU    "SIGXCPU"    24 30 24 "more processor time used than `RLIMIT_CPU`";
    XFSZ    "SIGXFSZ"    25 31 25 "a file larger than `RLIMIT_FSIZE`";
    VTALRM  "SIGVTALRM"  26 28 26 "a timer for this process's processor time has run out";
    PROF    "SIGPROF"    27 29 27 "a timer for profiling has run out";
    WINCH   "SIGWINCH"   28 20 28 "the terminal has changed its size";
    IO      "SIGIO"      29 22 23 "a descriptor is ready";
    PWR     "SIGPWR"     30 19 29 "a power failure";
    SYS     "SIGSYS"     31 12 12 "a system call that does not exist or is filtered out";
}

impl Signal {
    /// Returns the signal with this number. Valid numbers are 1 to 64, or 1 to 127 on MIPS. Returns `None`
    /// for any other number.
    #[must_use]
    pub const fn from_raw(number: i32) -> Option<Self> {
        if number >= 1 && number <= if abi::MIPS { 127 } else { 64 } {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signal({self})")
    }
}

/// A set of signals.
///
/// # Examples
///
/// ```
/// use rawpipe::process::{Signal, SignalSet};
///
/// const STOPS: SignalSet = SignalSet::empty().with(Signal::TSTP).with(Signal::TTIN);
/// assert!(STOPS.contains(Signal::TSTP));
/// assert!(!STOPS.without(Signal::TSTP).contains(Signal::TSTP));
/// assert!(SignalSet::full().contains(Signal::INT));
///
/// let ends: SignalSet = [Signal::INT, Signal::TERM].into_iter().collect();
/// assert_eq!(format!("{ends:?}"), "{Signal(SIGINT), Signal(SIGTERM)}");
/// ```
///
/// [sigsetops(3)](https://man7.org/linux/man-pages/man3/sigsetops.3.html)
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SignalSet(pub(crate) SigSet);

impl SignalSet {
    /// Returns the empty set.
    pub const fn empty() -> Self {
        Self([0; abi::SIGSET_WORDS])
    }

    /// Returns the set of all signals, including signals without a name.
    pub const fn full() -> Self {
        Self([usize::MAX; abi::SIGSET_WORDS])
    }

    /// Returns this set with `signal` added.
    pub const fn with(mut self, signal: Signal) -> Self {
        let (word, bit) = place(signal);
        self.0[word] |= bit;
        self
    }

    /// Returns this set with `signal` removed.
    pub const fn without(mut self, signal: Signal) -> Self {
        let (word, bit) = place(signal);
        self.0[word] &= !bit;
        self
    }

    /// Returns whether `signal` is in the set.
    #[must_use]
    pub const fn contains(&self, signal: Signal) -> bool {
        let (word, bit) = place(signal);
        self.0[word] & bit != 0
    }
}

/// Returns the index of the word that holds a signal's bit, and the mask of that bit. Signal n is bit n − 1
/// of an array of pointer-sized words.
const fn place(signal: Signal) -> (usize, usize) {
    let index = signal.0.unsigned_abs() - 1;
    ((index / usize::BITS) as usize, 1 << (index % usize::BITS))
}

impl FromIterator<Signal> for SignalSet {
    fn from_iter<I: IntoIterator<Item = Signal>>(signals: I) -> Self {
        signals.into_iter().fold(Self::empty(), Self::with)
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = (1..).map_while(Signal::from_raw);
        f.debug_set().entries(all.filter(|signal| self.contains(*signal))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_names_and_numbers_are_distinct() {
        for (i, &(name, signal)) in ALL.iter().enumerate() {
            assert_eq!(signal.name(), Some(name));
            assert_eq!(Signal::from_raw(signal.as_raw()), Some(signal));
            assert!(ALL[..i].iter().all(|&(_, other)| other != signal), "{name}");
        }
        assert_eq!(Signal::CHLD.as_raw().unsigned_abs() as usize, abi::SIGCHLD);
    }

    #[test]
    fn signal_from_raw_bounds() {
        let last = if abi::MIPS { 127 } else { 64 };
        assert!(Signal::from_raw(1).is_some() && Signal::from_raw(last).is_some());
        for number in [0, -1, last + 1, i32::MAX, i32::MIN] {
            assert_eq!(Signal::from_raw(number), None, "{number}");
        }
    }

    #[test]
    fn signal_set_holds_each_signal_alone() {
        for signal in (1..).map_while(Signal::from_raw) {
            let one = SignalSet::empty().with(signal);
            assert!(one.contains(signal) && !SignalSet::full().without(signal).contains(signal));
            assert_eq!(one.0.iter().map(|word| word.count_ones()).sum::<u32>(), 1);
            assert_eq!(one.without(signal), SignalSet::empty());
            assert_eq!(one, [signal].into_iter().collect());
        }
        assert_eq!(std::format!("{:?}", SignalSet::default()), "{}");
    }
}

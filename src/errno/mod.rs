//! The kernel's error numbers, and the one function that decodes the kernel's results.
//!
//! The file is long because its table lists every error number of Linux, with a name and a message. The table
//! makes an error readable without a C library and without `std`.

mod like_std;

use crate::sys::abi;
use core::fmt;
use core::num::NonZeroI32;
pub(crate) use like_std::like_std;

/// The result of a call in this crate: a value, or the kernel's [`Errno`].
pub type Result<T> = core::result::Result<T, Errno>;

/// A kernel error number, such as [`EPIPE`](Errno::EPIPE).
///
/// The type can hold every non-zero code. A code that is not in this crate's table keeps its value, has no
/// [`name`](Errno::name), and is printed as a number.
///
/// # Examples
///
/// ```
/// use rawpipe::Errno;
///
/// let (reader, writer) = rawpipe::pipe()?;
/// drop(reader);
/// let error = writer.write(b"hello?").unwrap_err();
/// assert_eq!(error, Errno::EPIPE);
/// assert_eq!(error.name(), Some("EPIPE"));
/// assert_eq!(error.to_string(), "broken pipe: no reader is left (EPIPE)");
///
/// // `Errno` implements `Error`, and `?` converts it to `std::io::Error`.
/// let error = std::io::Error::from(error);
/// assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// [errno(3)](https://man7.org/linux/man-pages/man3/errno.3.html)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Errno(NonZeroI32);

impl Errno {
    /// Returns the error with this code, or `None` for 0, which means success.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    ///
    /// assert_eq!(Errno::from_raw_os_error(Errno::EAGAIN.raw_os_error()), Some(Errno::EAGAIN));
    /// assert_eq!(Errno::from_raw_os_error(0), None);
    /// ```
    #[must_use]
    pub const fn from_raw_os_error(code: i32) -> Option<Self> {
        match NonZeroI32::new(code) {
            Some(code) => Some(Self(code)),
            None => None,
        }
    }

    /// Returns the code, as in C's `errno`.
    #[must_use]
    pub const fn raw_os_error(self) -> i32 {
        self.0.get()
    }

    /// Returns the name of the constant, such as `"EPIPE"`, or `None` for a code that is not in this crate's
    /// table.
    #[must_use]
    #[inline]
    pub const fn name(self) -> Option<&'static str> {
        match self.entry() {
            Some((name, _)) => Some(name),
            None => None,
        }
    }

    /// Returns a short description of the error, or `None` for a code that is not in this crate's table.
    #[must_use]
    #[inline]
    pub const fn message(self) -> Option<&'static str> {
        match self.entry() {
            Some((_, message)) => Some(message),
            None => None,
        }
    }

    /// Returns the error's name and message, which form one line of `WORDS`. A `match` would make up one
    /// twentieth of the crate's code. A table of strings would contain two addresses per line, and a
    /// position-independent program would have to relocate each of them.
    const fn entry(self) -> Option<(&'static str, &'static str)> {
        let (mut codes, mut words) = (Self::CODES, Self::WORDS.as_bytes());
        while let [code, others @ ..] = codes {
            let (name, rest) = cut(words, b'\t');
            let (message, rest) = cut(rest, b'\n');
            if code.0.get() == self.0.get() {
                return Some((name, message));
            }
            (codes, words) = (others, rest);
        }
        None
    }

    /// Returns the kind that [`std::io::Error`] has for this error.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn kind(self) -> std::io::ErrorKind {
        std::io::Error::from(self).kind()
    }

    /// Returns the errno of an [`std::io::Error`], or `None` if the error did not originate in a system call.
    ///
    /// The errno is the error's own code, or else the first [`Errno`] among the contained error and its
    /// sources.
    ///
    /// # Examples
    ///
    /// ```
    /// use rawpipe::Errno;
    ///
    /// let (reader, writer) = rawpipe::pipe()?;
    /// drop(reader);
    /// let error = std::io::Error::from(writer.write_all(b"hello?").unwrap_err());
    /// assert_eq!(error.raw_os_error(), None); // it holds an `Incomplete`, which counts the bytes
    /// assert_eq!(Errno::from_io_error(&error), Some(Errno::EPIPE));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(feature = "std")]
    #[must_use]
    pub fn from_io_error(error: &std::io::Error) -> Option<Self> {
        let own = error.raw_os_error().and_then(Self::from_raw_os_error);
        let inner = error.get_ref().map(|inner| inner as &(dyn core::error::Error + 'static));
        let mut causes = core::iter::successors(inner, |cause| cause.source());
        own.or_else(|| causes.find_map(|cause| cause.downcast_ref()).copied())
    }
}

/// Decodes the kernel's result: a value in −4095..=−1 is an error, and any other value is a success.
///
/// A successful result can be an address, and an address may be negative when converted to `isize`. This
/// function therefore checks the range rather than the sign.
#[inline]
pub(crate) const fn decode(answer: isize) -> Result<usize> {
    if answer < 0 && answer >= -4095 {
        #[expect(clippy::cast_possible_truncation, reason = "1..=4095 fits in any integer")]
        let code = -answer as i32;
        match NonZeroI32::new(code) {
            Some(code) => Err(Errno(code)),
            None => Ok(0),
        }
    } else {
        #[expect(clippy::cast_sign_loss, reason = "an address above the middle is a success")]
        Ok(answer as usize)
    }
}

/// Splits `text` at the first byte that equals `end`, and drops that byte.
const fn cut(text: &'static [u8], end: u8) -> (&'static str, &'static [u8]) {
    let mut len = 0;
    while len < text.len() && text[len] != end {
        len += 1;
    }
    let (first, rest) = text.split_at(len);
    let (Ok(first), Some((_, rest))) = (core::str::from_utf8(first), rest.split_first()) else {
        return ("", &[]);
    };
    (first, rest)
}

/// Repeats a call until its result is not `EINTR`.
#[inline]
pub(crate) fn retry<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry() {
            Some((name, message)) => write!(f, "{message} ({name})"),
            None => write!(f, "unknown error {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.0),
        }
    }
}

impl core::error::Error for Errno {}

#[cfg(feature = "std")]
impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.raw_os_error())
    }
}

/// Defines the constants, and the table from which `name` and `message` read. MIPS and SPARC number most
/// errors above 34 differently. All other supported architectures use the numbers in the first column.
macro_rules! errnos {
    ($($name:ident $generic:literal $mips:literal $sparc:literal $message:literal;)*) => {
        impl Errno {
            $(
                #[doc = concat!("`", stringify!($name), "`: ", $message, ".")]
                pub const $name: Self = Self(
                    NonZeroI32::new(if abi::MIPS { $mips } else if abi::SPARC { $sparc } else { $generic })
                        .unwrap(),
                );
            )*

            /// Every error that Linux names.
            pub(crate) const CODES: &[Self] = &[$(Self::$name),*];

            /// One line for each error, with the error's name and message.
            const WORDS: &str = concat!($(stringify!($name), "\t", $message, "\n"),*);
        }
    };
}

errnos! {
    // constant     most mips sparc  message
    EPERM              1    1    1  "operation not permitted";
    ENOENT             2    2    2  "no such file or directory";
    ESRCH              3    3    3  "no such process";
    EINTR              4    4    4  "interrupted by a signal";
    EIO                5    5    5  "input/output error";
    ENXIO              6    6    6  "no such device or address";
    E2BIG              7    7    7  "argument list too long";
    ENOEXEC            8    8    8  "not an executable format";
    EBADF              9    9    9  "bad file descriptor: closed, or opened for the other direction";
    ECHILD            10   10   10  "no such child process";
    EAGAIN            11   11   11  "would block: try again later";
    ENOMEM            12   12   12  "out of memory";
    EACCES            13   13   13  "permission denied";
    EFAULT            14   14   14  "bad address";
    ENOTBLK           15   15   15  "block device required";
    EBUSY             16   16   16  "device or resource busy";
    EEXIST            17   17   17  "file exists";
    EXDEV             18   18   18  "on different file systems";
    ENODEV            19   19   19  "no such device";
    ENOTDIR           20   20   20  "not a directory";
    EISDIR            21   21   21  "is a directory";
    EINVAL            22   22   22  "invalid argument";
    ENFILE            23   23   23  "too many open files in the system";
    EMFILE            24   24   24  "too many open files in this process";
    ENOTTY            25   25   25  "request not supported by this device";
    ETXTBSY           26   26   26  "executable file is open for writing";
    EFBIG             27   27   27  "file too large";
    ENOSPC            28   28   28  "no space left on device";
    ESPIPE            29   29   29  "cannot seek: it is a pipe or socket";
    EROFS             30   30   30  "read-only file system";
    EMLINK            31   31   31  "too many links";
    EPIPE             32   32   32  "broken pipe: no reader is left";
    EDOM              33   33   33  "argument outside the domain of the function";
    ERANGE            34   34   34  "result out of range";
    EDEADLK           35   45   78  "would deadlock";
    ENAMETOOLONG      36   78   63  "file name too long";
    ENOLCK            37   46   79  "no locks available";
    ENOSYS            38   89   90  "system call not implemented";
    ENOTEMPTY         39   93   66  "directory not empty";
    ELOOP             40   90   62  "too many levels of symbolic links";
    ENOMSG            42   35   75  "no message of the wanted type";
    EIDRM             43   36   77  "identifier removed";
    ECHRNG            44   37   94  "channel number out of range";
    EL2NSYNC          45   38   95  "level 2 not synchronized";
    EL3HLT            46   39   96  "level 3 halted";
    EL3RST            47   40   97  "level 3 reset";
    ELNRNG            48   41   98  "link number out of range";
    EUNATCH           49   42   99  "protocol driver not attached";
    ENOCSI            50   43  100  "no CSI structure available";
    EL2HLT            51   44  101  "level 2 halted";
    EBADE             52   50  102  "invalid exchange";
    EBADR             53   51  103  "invalid request descriptor";
    EXFULL            54   52  104  "exchange full";
    ENOANO            55   53  105  "no anode";
    EBADRQC           56   54  106  "invalid request code";
    EBADSLT           57   55  107  "invalid slot";
    EBFONT            59   59  109  "bad font file format";
    ENOSTR            60   60   72  "not a stream device";
    ENODATA           61   61  111  "no data available";
    ETIME             62   62   73  "timer expired";
    ENOSR             63   63   74  "out of streams resources";
    ENONET            64   64   80  "machine is not on the network";
    ENOPKG            65   65  113  "package not installed";
    EREMOTE           66   66   71  "object is remote";
    ENOLINK           67   67   82  "link has been severed";
    EADV              68   68   83  "advertise error";
    ESRMNT            69   69   84  "srmount error";
    ECOMM             70   70   85  "communication error on send";
    EPROTO            71   71   86  "protocol error";
    EMULTIHOP         72   74   87  "multihop attempted";
    EDOTDOT           73   73   88  "RFS specific error";
    EBADMSG           74   77   76  "bad message";
    EOVERFLOW         75   79   92  "value too large for its type";
    ENOTUNIQ          76   80  115  "name not unique on the network";
    EBADFD            77   81   93  "file descriptor in a bad state";
    EREMCHG           78   82   89  "remote address changed";
    ELIBACC           79   83  114  "cannot access a needed shared library";
    ELIBBAD           80   84  112  "a shared library is corrupted";
    ELIBSCN           81   85  124  ".lib section is corrupted";
    ELIBMAX           82   86  123  "too many shared libraries";
    ELIBEXEC          83   87  110  "a shared library cannot be executed";
    EILSEQ            84   88  122  "invalid byte sequence";
    ERESTART          85   91  116  "system call should be restarted";
    ESTRPIPE          86   92   91  "streams pipe error";
    EUSERS            87   94   68  "too many users";
    ENOTSOCK          88   95   38  "not a socket";
    EDESTADDRREQ      89   96   39  "destination address required";
    EMSGSIZE          90   97   40  "message too long";
    EPROTOTYPE        91   98   41  "wrong protocol type for the socket";
    ENOPROTOOPT       92   99   42  "protocol option not available";
    EPROTONOSUPPORT   93  120   43  "protocol not supported";
    ESOCKTNOSUPPORT   94  121   44  "socket type not supported";
    EOPNOTSUPP        95  122   45  "operation not supported";
    EPFNOSUPPORT      96  123   46  "protocol family not supported";
    EAFNOSUPPORT      97  124   47  "address family not supported";
    EADDRINUSE        98  125   48  "address already in use";
    EADDRNOTAVAIL     99  126   49  "address not available";
    ENETDOWN         100  127   50  "network is down";
    ENETUNREACH      101  128   51  "network is unreachable";
    ENETRESET        102  129   52  "connection dropped by a network reset";
    ECONNABORTED     103  130   53  "connection aborted";
    ECONNRESET       104  131   54  "connection reset by the peer";
    ENOBUFS          105  132   55  "no buffer space available";
    EISCONN          106  133   56  "already connected";
    ENOTCONN         107  134   57  "not connected";
    ESHUTDOWN        108  143   58  "cannot send after shutdown";
    ETOOMANYREFS     109  144   59  "too many references";
    ETIMEDOUT        110  145   60  "timed out";
    ECONNREFUSED     111  146   61  "connection refused";
    EHOSTDOWN        112  147   64  "host is down";
    EHOSTUNREACH     113  148   65  "no route to the host";
    EALREADY         114  149   37  "already in progress";
    EINPROGRESS      115  150   36  "now in progress";
    ESTALE           116  151   70  "stale file handle";
    EUCLEAN          117  135  117  "structure needs cleaning";
    ENOTNAM          118  137  118  "not a XENIX named type file";
    ENAVAIL          119  138  119  "no XENIX semaphores available";
    EISNAM           120  139  120  "is a named type file";
    EREMOTEIO        121  140  121  "remote input/output error";
    EDQUOT           122 1133   69  "disk quota exceeded";
    ENOMEDIUM        123  159  125  "no medium found";
    EMEDIUMTYPE      124  160  126  "wrong medium type";
    ECANCELED        125  158  127  "operation canceled";
    ENOKEY           126  161  128  "required key not available";
    EKEYEXPIRED      127  162  129  "key has expired";
    EKEYREVOKED      128  163  130  "key has been revoked";
    EKEYREJECTED     129  164  131  "key was rejected";
    EOWNERDEAD       130  165  132  "owner of the lock died";
    ENOTRECOVERABLE  131  166  133  "state not recoverable";
    ERFKILL          132  167  134  "blocked by rfkill";
    EHWPOISON        133  168  135  "memory page has a hardware error";
}

impl Errno {
    /// Another name for [`EAGAIN`](Errno::EAGAIN).
    pub const EWOULDBLOCK: Self = Self::EAGAIN;
    /// Another name for [`EOPNOTSUPP`](Errno::EOPNOTSUPP).
    pub const ENOTSUP: Self = Self::EOPNOTSUPP;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn decode_edges() {
        assert_eq!(decode(-4096), Ok(usize::MAX - 4095));
        assert_eq!(decode(-4095), Err(Errno(NonZeroI32::new(4095).unwrap())));
        assert_eq!(decode(-1), Err(Errno::EPERM));
        assert_eq!(decode(0), Ok(0));
        assert_eq!(decode(1), Ok(1));
        assert_eq!(decode(isize::MAX), Ok(usize::MAX / 2));
        assert_eq!(decode(isize::MIN), Ok(usize::MAX / 2 + 1));
    }

    #[test]
    fn errno_names_are_const_and_complete() {
        const NAME: Option<&str> = Errno::EPIPE.name();
        const MESSAGE: Option<&str> = Errno::EPIPE.message();
        assert_eq!(NAME, Some("EPIPE"));
        assert!(MESSAGE.is_some());
        assert_eq!(Errno::CODES.len(), 131);
        assert_eq!(Errno::WORDS.lines().count(), 131);
        for (&errno, line) in Errno::CODES.iter().zip(Errno::WORDS.lines()) {
            assert_eq!(line.split_once('\t'), errno.name().zip(errno.message()));
            assert!(errno.message().is_some_and(|message| !message.is_empty()));
        }
        assert_eq!((Errno::EPERM.name(), Errno::EBADF.name()), (Some("EPERM"), Some("EBADF")));
    }

    #[test]
    fn errno_unknown_code_is_kept() {
        for code in [4000, 524, -7, i32::MAX, i32::MIN] {
            let errno = Errno::from_raw_os_error(code).unwrap();
            assert_eq!(errno.raw_os_error(), code);
            assert_eq!(errno.name(), None);
            assert_eq!(errno.message(), None);
            assert_eq!(errno.to_string(), std::format!("unknown error {code}"));
        }
        assert_eq!(Errno::from_raw_os_error(0), None);
    }

    #[test]
    fn errno_option_costs_nothing() {
        assert_eq!(size_of::<Option<Errno>>(), size_of::<i32>());
    }

    #[cfg(feature = "std")]
    #[test]
    fn errno_to_io_error_and_back() {
        for &errno in Errno::CODES {
            let error = std::io::Error::from(errno);
            assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()));
            assert_eq!(Errno::from_io_error(&error), Some(errno));
        }
        let own = std::io::Error::other("not from the system");
        assert_eq!(Errno::from_io_error(&own), None);
    }
}

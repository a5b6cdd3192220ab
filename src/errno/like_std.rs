//! The methods and traits that all error types of the crate share.

/// Implements the shared parts of an error type: `raw_os_error`, `kind`, a source, and the conversion into
/// [`std::io::Error`]. The type must have a public method `errno`, and a method `cause`. If the error has an
/// errno, `cause` returns a reference to it, and otherwise `None`. `$kind` is the kind of an error without an
/// errno.
///
/// With `bare`, the macro defines no conversion. A type whose values can consist of an errno alone defines
/// its own conversion.
macro_rules! like_std {
    ($error:ident, $this:ident => $kind:expr) => {
        $crate::errno::like_std!(bare $error, $this => $kind);

        #[cfg(feature = "std")]
        impl From<$error> for std::io::Error {
            /// Wraps the whole error and keeps its kind. `get_ref` and `downcast` return the wrapped error.
            /// `raw_os_error` of the result is `None`, but
            /// [`Errno::from_io_error`](crate::Errno::from_io_error) returns the errno.
            fn from(error: $error) -> Self {
                Self::new(error.kind(), error)
            }
        }
    };
    (bare $error:ident, $this:ident => $kind:expr) => {
        impl $error {
            /// Returns the code of [`errno`](Self::errno), as in C's `errno`, or `None` if the error has no
            /// errno.
            #[must_use]
            pub const fn raw_os_error(&self) -> Option<i32> {
                match self.cause() {
                    Some(errno) => Some(errno.raw_os_error()),
                    None => None,
                }
            }

            /// Returns the kind that [`std::io::Error`] has for this error.
            #[cfg(feature = "std")]
            #[must_use]
            pub fn kind(&self) -> std::io::ErrorKind {
                let $this = self;
                self.cause().map_or_else(|| $kind, |errno| errno.kind())
            }
        }

        impl core::error::Error for $error {
            fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
                self.cause().map(|errno| errno as _)
            }
        }
    };
}
pub(crate) use like_std;

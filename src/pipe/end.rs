//! The methods and conversions that both ends of a pipe share.

/// Implements the shared methods and conversions for an end, `struct $End(OwnedFd)`.
macro_rules! common_to_both_ends {
    ($End:ident) => {
        impl $End {
            /// Returns the capacity of the pipe in bytes.
            ///
            /// # Errors
            ///
            /// Fails as [`pipe::capacity`](crate::pipe::capacity) does.
            pub fn capacity(&self) -> Result<usize> {
                crate::pipe::capacity(self)
            }

            /// Sets the capacity of the pipe and returns the granted capacity in bytes.
            ///
            /// # Errors
            ///
            /// Fails as [`pipe::set_capacity`](crate::pipe::set_capacity) does.
            ///
            /// # Examples
            ///
            /// ```
            /// use rawpipe::pipe::Capacity;
            ///
            /// let (reader, writer) = rawpipe::pipe()?;
            /// let granted = writer.set_capacity(Capacity::Bytes(300_000))?;
            /// assert_eq!((granted, reader.capacity()?), (524_288, 524_288));
            /// # Ok::<(), rawpipe::Errno>(())
            /// ```
            pub fn set_capacity(&self, capacity: Capacity) -> Result<usize> {
                crate::pipe::set_capacity(self, capacity)
            }

            /// Returns the number of unread bytes in the pipe.
            ///
            /// # Errors
            ///
            /// Fails as [`pipe::available`](crate::pipe::available) does.
            ///
            /// # Examples
            ///
            /// ```
            /// let (reader, writer) = rawpipe::pipe()?;
            /// writer.write(b"12345")?;
            /// assert_eq!((reader.available()?, writer.available()?), (5, 5));
            /// # Ok::<(), rawpipe::Errno>(())
            /// ```
            pub fn available(&self) -> Result<usize> {
                crate::pipe::available(self)
            }

            /// Returns whether the pipe has only one or two pages. The kernel creates pipes this small if
            /// this user's pipes hold too many pages.
            ///
            /// # Errors
            ///
            /// Fails as [`pipe::is_degraded`](crate::pipe::is_degraded) does.
            pub fn is_degraded(&self) -> Result<bool> {
                crate::pipe::is_degraded(self)
            }

            /// Returns whether reads or writes of this end fail with [`EAGAIN`](crate::Errno::EAGAIN) rather
            /// than wait.
            ///
            /// # Errors
            ///
            /// Fails as [`io::is_nonblocking`](crate::io::is_nonblocking) does.
            pub fn is_nonblocking(&self) -> Result<bool> {
                io::is_nonblocking(self)
            }

            /// Sets or clears `O_NONBLOCK`. While the flag is set, calls on this end fail with
            /// [`EAGAIN`](crate::Errno::EAGAIN) rather than wait. All duplicates of this end share the flag.
            /// The other end has its own flag.
            ///
            /// # Errors
            ///
            /// Fails as [`io::set_nonblocking`](crate::io::set_nonblocking) does.
            ///
            /// # Examples
            ///
            /// ```
            /// use rawpipe::Errno;
            ///
            /// let (reader, writer) = rawpipe::pipe()?;
            /// reader.set_nonblocking(true)?;
            /// assert_eq!(reader.read(&mut [0; 1]), Err(Errno::EAGAIN));
            /// assert_eq!((reader.is_nonblocking()?, writer.is_nonblocking()?), (true, false));
            /// # Ok::<(), Errno>(())
            /// ```
            pub fn set_nonblocking(&self, on: bool) -> Result<()> {
                io::set_nonblocking(self, on)
            }

            /// Creates another handle to the same end. The new descriptor is close-on-exec.
            ///
            /// # Errors
            ///
            /// - [`EMFILE`](crate::Errno::EMFILE) if the process has reached its limit of descriptors.
            ///
            /// # Examples
            ///
            /// ```
            /// let (reader, writer) = rawpipe::pipe()?;
            /// let copy = writer.try_clone()?;
            /// drop(writer);
            /// copy.write(b"not the end yet")?;
            /// drop(copy);
            /// let mut all = Vec::new();
            /// assert_eq!(reader.read_to_end(&mut all)?, 15);
            /// # Ok::<(), rawpipe::Errno>(())
            /// ```
            pub fn try_clone(&self) -> Result<Self> {
                io::dup_cloexec(self).map(Self)
            }
        }

        lends_its_descriptor!($End);

        impl AsRawFd for $End {
            #[inline]
            fn as_raw_fd(&self) -> RawFd {
                self.0.as_raw_fd()
            }
        }

        impl IntoRawFd for $End {
            fn into_raw_fd(self) -> RawFd {
                self.0.into_raw_fd()
            }
        }

        impl From<OwnedFd> for $End {
            /// Converts the descriptor without checking that it is this end of a pipe. If the descriptor does
            /// not support a call, that call fails.
            fn from(fd: OwnedFd) -> Self {
                Self(fd)
            }
        }

        #[cfg(feature = "std")]
        impl From<$End> for std::process::Stdio {
            fn from(end: $End) -> Self {
                end.0.into()
            }
        }
    };
}

pub(super) use common_to_both_ends;

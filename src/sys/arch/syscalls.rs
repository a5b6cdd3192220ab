//! Defines `syscall0` to `syscall6`, using the macro `trap` of each backend. That macro accepts the number of
//! the call, and each argument together with its register.
//!
//! # Safety
//!
//! This file is trusted to pass each argument in the correct position.

macro_rules! syscalls {
    ($a:tt $b:tt $c:tt $d:tt $e:tt $f:tt) => {
        syscall!(syscall0, "no argument");
        syscall!(syscall1, "one argument", a $a);
        syscall!(syscall2, "two arguments", a $a, b $b);
        syscall!(syscall3, "three arguments", a $a, b $b, c $c);
        syscall!(syscall4, "four arguments", a $a, b $b, c $c, d $d);
        syscall!(syscall5, "five arguments", a $a, b $b, c $c, d $d, e $e);
        syscall!(syscall6, "six arguments", a $a, b $b, c $c, d $d, e $e, f $f);
    };
}

macro_rules! syscall {
    ($name:ident, $count:literal $(, $argument:ident $register:tt)*) => {
        #[doc = concat!("Makes system call `nr` with ", $count, ".")]
        ///
        /// # Safety
        ///
        /// The system call must be sound with these arguments.
        #[inline]
        pub unsafe fn $name(nr: usize $(, $argument: usize)*) -> isize {
            trap!(nr $(, $register = $argument)*)
        }
    };
}

//! The numbers of the system calls, one line per call.
//!
//! With the assembly backends, the numbers are constants. The architectures aarch64 and riscv64 use the
//! kernel's generic table, and x86_64 has its own numbers. With the C shim, the numbers are read from
//! constants that `csrc/shim.c` defines from `<sys/syscall.h>`. The backend's macro `number` declares the
//! constants. Some calls have an older and a newer form on 32-bit targets. For most of these calls, the shim
//! uses the form with 64-bit times and offsets. On 64-bit targets, that form is the only one.
#![allow(dead_code, reason = "each feature, and each test, uses some of them")]

macro_rules! numbers {
    ($($name:ident $call:literal $x86_64:literal $generic:literal;)*) => {
        $(number!($name $call $x86_64 $generic);)*

        /// Returns each call's name and its three numbers: on x86_64, in the generic table, and in this
        /// build.
        #[cfg(all(test, rawpipe_shim))]
        pub(crate) fn table() -> impl Iterator<Item = (&'static str, usize, usize, usize)> {
            [$(($call, $x86_64, $generic, $name)),*].into_iter()
        }
    };
}

numbers! {
    // constant         call               x86_64 generic
    CHDIR              "chdir"               80   49;
    CLOCK_GETTIME      "clock_gettime"       228  113;
    CLONE              "clone"                56  220;
    CLONE3             "clone3"              435  435;
    CLOSE              "close"                 3   57;
    CLOSE_RANGE        "close_range"        436  436;
    COPY_FILE_RANGE    "copy_file_range"     326  285;
    DUP                "dup"                  32   23;
    DUP3               "dup3"                292   24;
    EPOLL_CREATE1      "epoll_create1"       291   20;
    EPOLL_CTL          "epoll_ctl"           233   21;
    EPOLL_PWAIT        "epoll_pwait"         281   22;
    EPOLL_PWAIT2       "epoll_pwait2"        441  441;
    EVENTFD2           "eventfd2"            290   19;
    EXECVE             "execve"               59  221;
    EXECVEAT           "execveat"            322  281;
    EXIT               "exit"                 60   93;
    EXIT_GROUP         "exit_group"          231   94;
    FCNTL              "fcntl"                72   25;
    FTRUNCATE          "ftruncate"            77   46;
    GETDENTS64         "getdents64"         217   61;
    GETGROUPS          "getgroups"          115  158;
    GETPID             "getpid"               39  172;
    GETPPID            "getppid"             110  173;
    GETPRIORITY        "getpriority"        140  141;
    GETRESUID          "getresuid"          118  148;
    GETSID             "getsid"             124  156;
    GETSOCKOPT         "getsockopt"          55  209;
    GETTID             "gettid"              186  178;
    IOCTL              "ioctl"                16   29;
    KILL               "kill"                 62  129;
    LSEEK              "lseek"                8   62;
    MADVISE            "madvise"              28  233;
    MEMFD_CREATE       "memfd_create"        319  279;
    MMAP               "mmap"                  9  222;
    MPROTECT           "mprotect"            10  226;
    MUNMAP             "munmap"               11  215;
    OPENAT             "openat"              257   56;
    PIDFD_GETFD        "pidfd_getfd"         438  438;
    PIDFD_OPEN         "pidfd_open"          434  434;
    PIDFD_SEND_SIGNAL  "pidfd_send_signal"   424  424;
    PIPE2              "pipe2"               293   59;
    PPOLL              "ppoll"               271   73;
    PRCTL              "prctl"               157  167;
    PREADV2            "preadv2"             327  286;
    PRLIMIT64          "prlimit64"           302  261;
    PSELECT6           "pselect6"            270   72;
    PWRITEV2           "pwritev2"            328  287;
    READ               "read"                  0   63;
    READV              "readv"                19   65;
    RT_SIGACTION       "rt_sigaction"         13  134;
    RT_SIGPENDING      "rt_sigpending"       127  136;
    RT_SIGPROCMASK     "rt_sigprocmask"       14  135;
    RT_SIGTIMEDWAIT    "rt_sigtimedwait"     128  137;
    RT_TGSIGQUEUEINFO  "rt_tgsigqueueinfo"   297  240;
    SCHED_GETAFFINITY  "sched_getaffinity"   204  123;
    SENDFILE           "sendfile"             40   71;
    SETGROUPS          "setgroups"          116  159;
    SETPGID            "setpgid"             109  154;
    SETPRIORITY        "setpriority"        141  140;
    SETRESGID          "setresgid"          119  149;
    SETRESUID          "setresuid"          117  147;
    SETSID             "setsid"              112  157;
    SIGNALFD4          "signalfd4"          289   74;
    SPLICE             "splice"              275   76;
    STATX              "statx"               332  291;
    TEE                "tee"                 276   77;
    TGKILL             "tgkill"              234  131;
    UMASK              "umask"               95  166;
    UNSHARE            "unshare"             272   97;
    VMSPLICE           "vmsplice"            278   75;
    WAITID             "waitid"              247   95;
    WRITE              "write"                 1   64;
    WRITEV             "writev"               20   66;
}

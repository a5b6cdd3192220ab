/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The C backend of rawpipe, which makes with the C library the calls that src/sys/ makes in assembly.
 * Contract: src/sys/mod.rs. Every symbol is static or begins with RAWPIPE_PREFIX, which build.rs
 * sets. This prefix contains the version. No function may change errno, because the assembly does not.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/time_types.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifndef STATX_TYPE /* musl before 1.2.4 */
#include <linux/stat.h>
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

#if defined(__x86_64__) && defined(__ILP32__)
#error "rawpipe: x32 is not supported: a system call's argument is wider than a pointer there"
#endif

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(x) JOIN(RAWPIPE_PREFIX, x)

/* mmap, ftruncate and lseek differ between targets when called by number. 32-bit targets have mmap2,
 * whose offset is in units of pages, and pass 64-bit lengths in pairs of registers. mmap of s390x
 * receives a pointer to its arguments, and riscv32 has no lseek. libc's functions handle these
 * differences, so they make these calls for the Rust code, which is the same for every target: the
 * length in one register, and no offset. A call with other arguments is one that src/raw.rs makes for
 * the user, in the form of the target's kernel, and is passed on unchanged. */
#ifdef SYS_mmap2
#define NR_mmap SYS_mmap2
#else
#define NR_mmap SYS_mmap
#endif
#ifdef SYS_ftruncate64
#define NR_ftruncate SYS_ftruncate64
#else
#define NR_ftruncate SYS_ftruncate
#endif
#ifdef SYS_lseek
#define NR_lseek SYS_lseek
#else
#define NR_lseek SYS__llseek
#endif

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	if (nr == NR_mmap && d != 0 && f == 0) /* MAP_FAILED is -1 */
		return (long)mmap((void *)a, (size_t)b, (int)c, (int)d, (int)e, 0);
	if (nr == NR_ftruncate && (c | d | e | f) == 0)
		return ftruncate((int)a, (off_t)(unsigned long)b);
#ifndef SYS_lseek
	if (nr == NR_lseek && d == 0) {
		const off_t position = lseek((int)a, (off_t)b, (int)c);

		if (position <= LONG_MAX)
			return (long)position;
		errno = EOVERFLOW;
		return -1;
	}
#endif
	return syscall(nr, a, b, c, d, e, f);
}

/* Makes one call with six arguments. Returns the kernel's result: -errno on failure. */
long NAME(syscall)(long nr, long a, long b, long c, long d, long e, long f);
long NAME(syscall)(long nr, long a, long b, long c, long d, long e, long f)
{
	const int saved = errno;
	const long answer = call(nr, a, b, c, d, e, f);
	const int error = errno;

	errno = saved;
	return answer == -1 ? -(long)error : answer;
}

/* Calls libc's fork, so that atfork handlers run and the child's libc has the right thread id. */
long NAME(fork)(void);
long NAME(fork)(void)
{
	const int saved = errno;
	const pid_t pid = fork();
	const int error = errno;

	errno = saved;
	return pid == -1 ? -(long)error : (long)pid;
}

/* glibc's second name for clone, which ThreadSanitizer does not replace. ThreadSanitizer's clone
 * assumes that each child has a copy of the memory. In musl, the function with this name returns
 * -errno. */
#ifdef __GLIBC__
extern __typeof__(clone) __clone;
#define CLONE __clone
#else
#define CLONE clone
#endif

/* Calls libc's clone. The child may use this thread's errno while the thread is stopped. */
long NAME(clone_on_stack)(long flags, void *top, int (*child)(void *), void *arg, int *pidfd);
long NAME(clone_on_stack)(long flags, void *top, int (*child)(void *), void *arg, int *pidfd)
{
	const int saved = errno;
	const int pid = CLONE(child, top, (int)flags, arg, pidfd, NULL, NULL);
	const int error = errno;

	errno = saved;
	return pid == -1 ? -(long)error : (long)pid;
}

/* The numbers of the calls. If a 32-bit target has two forms of a call, the number is that of the
 * form with 64-bit times and offsets. */
#if !defined(SYS_pidfd_open) || !defined(SYS_clone3) || !defined(SYS_close_range)
#error "rawpipe: the kernel headers of this target are older than Linux 5.9 and lack calls"
#endif

#ifdef SYS_clock_gettime64
#define NR_clock_gettime SYS_clock_gettime64
#else
#define NR_clock_gettime SYS_clock_gettime
#endif
#ifdef SYS_epoll_pwait2
#define NR_epoll_pwait2 SYS_epoll_pwait2
#else /* headers older than Linux 5.11; calls this new are at the same distance on every target */
#define NR_epoll_pwait2 (SYS_clone3 + 6)
#endif
#ifdef SYS_fcntl64
#define NR_fcntl SYS_fcntl64
#else
#define NR_fcntl SYS_fcntl
#endif
#ifdef SYS_ppoll_time64
#define NR_ppoll SYS_ppoll_time64
#else
#define NR_ppoll SYS_ppoll
#endif
#ifdef SYS_pselect6_time64
#define NR_pselect6 SYS_pselect6_time64
#else
#define NR_pselect6 SYS_pselect6
#endif
#ifdef SYS_rt_sigtimedwait_time64
#define NR_rt_sigtimedwait SYS_rt_sigtimedwait_time64
#else
#define NR_rt_sigtimedwait SYS_rt_sigtimedwait
#endif
#ifdef SYS_sendfile64
#define NR_sendfile SYS_sendfile64
#else
#define NR_sendfile SYS_sendfile
#endif
#ifdef SYS_setgroups32 /* ids of 32 bits */
#define NR_getgroups SYS_getgroups32
#define NR_getresuid SYS_getresuid32
#define NR_setgroups SYS_setgroups32
#define NR_setresgid SYS_setresgid32
#define NR_setresuid SYS_setresuid32
#else
#define NR_getgroups SYS_getgroups
#define NR_getresuid SYS_getresuid
#define NR_setgroups SYS_setgroups
#define NR_setresgid SYS_setresgid
#define NR_setresuid SYS_setresuid
#endif

#define NUMBER(call, value)                  \
	extern const size_t NAME(nr_##call); \
	const size_t NAME(nr_##call) = (value)
#define CALL(call) NUMBER(call, SYS_##call)

CALL(chdir);
NUMBER(clock_gettime, NR_clock_gettime);
CALL(clone);
CALL(clone3);
CALL(close);
CALL(close_range);
CALL(copy_file_range);
CALL(dup);
CALL(dup3);
CALL(epoll_create1);
CALL(epoll_ctl);
CALL(epoll_pwait);
NUMBER(epoll_pwait2, NR_epoll_pwait2);
CALL(eventfd2);
CALL(execve);
CALL(execveat);
CALL(exit);
CALL(exit_group);
NUMBER(fcntl, NR_fcntl);
NUMBER(ftruncate, NR_ftruncate);
CALL(getdents64);
NUMBER(getgroups, NR_getgroups);
CALL(getpid);
CALL(getppid);
CALL(getpriority);
NUMBER(getresuid, NR_getresuid);
CALL(getsid);
CALL(getsockopt);
CALL(gettid);
CALL(ioctl);
CALL(kill);
NUMBER(lseek, NR_lseek);
CALL(madvise);
CALL(memfd_create);
NUMBER(mmap, NR_mmap);
CALL(mprotect);
CALL(munmap);
CALL(openat);
CALL(pidfd_getfd);
CALL(pidfd_open);
CALL(pidfd_send_signal);
CALL(pipe2);
NUMBER(ppoll, NR_ppoll);
CALL(prctl);
CALL(preadv2);
CALL(prlimit64);
NUMBER(pselect6, NR_pselect6);
CALL(pwritev2);
CALL(read);
CALL(readv);
CALL(rt_sigaction);
CALL(rt_sigpending);
CALL(rt_sigprocmask);
NUMBER(rt_sigtimedwait, NR_rt_sigtimedwait);
CALL(rt_tgsigqueueinfo);
CALL(sched_getaffinity);
NUMBER(sendfile, NR_sendfile);
NUMBER(setgroups, NR_setgroups);
CALL(setpgid);
CALL(setpriority);
NUMBER(setresgid, NR_setresgid);
NUMBER(setresuid, NR_setresuid);
CALL(setsid);
CALL(signalfd4);
CALL(splice);
CALL(statx);
CALL(tee);
CALL(tgkill);
CALL(umask);
CALL(unshare);
CALL(vmsplice);
CALL(waitid);
CALL(write);
CALL(writev);

/* The values on which the Rust code relies (src/sys/abi/mod.rs, src/errno/mod.rs), for the test that
 * compares them. A program that does not use the table does not link it. */
struct fact {
	const char *name;
	size_t value;
};

#define FACT(name) { #name, (size_t)(name) }
#define SIZE(name, type) { "sizeof " name, sizeof(type) }
#define OFFSET(name, type, member) { "offsetof " name, offsetof(type, member) }

extern const struct fact NAME(facts)[];
const struct fact NAME(facts)[] = {
	FACT(O_NONBLOCK), FACT(O_DIRECT), FACT(O_APPEND), FACT(O_PATH), FACT(O_CLOEXEC), FACT(FD_CLOEXEC),
	FACT(F_DUPFD), FACT(F_GETFD), FACT(F_SETFD), FACT(F_GETFL), FACT(F_SETFL),
	FACT(F_DUPFD_CLOEXEC), FACT(F_SETPIPE_SZ), FACT(F_GETPIPE_SZ),
	FACT(O_ACCMODE), FACT(O_RDONLY), FACT(F_ADD_SEALS), FACT(F_GET_SEALS),
	FACT(F_SEAL_SEAL), FACT(F_SEAL_SHRINK), FACT(F_SEAL_GROW),
	FACT(MFD_CLOEXEC), FACT(MFD_ALLOW_SEALING), FACT(PROT_READ), FACT(PROT_WRITE),
	FACT(MAP_SHARED), FACT(MAP_PRIVATE), FACT(MAP_ANONYMOUS), FACT(MAP_POPULATE),
	FACT(MADV_DONTNEED), FACT(MADV_HUGEPAGE), FACT(MADV_WIPEONFORK),
	FACT(SPLICE_F_MOVE), FACT(SPLICE_F_NONBLOCK), FACT(SPLICE_F_MORE),
	FACT(O_WRONLY), FACT(AT_FDCWD), FACT(AT_EMPTY_PATH),
	FACT(S_IFMT), FACT(S_IFREG), FACT(S_IFIFO), FACT(S_IFCHR), FACT(S_IFBLK), FACT(S_IFSOCK), FACT(CLOCK_MONOTONIC),
	FACT(STATX_TYPE), FACT(STATX_NLINK), FACT(STATX_INO), FACT(STATX_SIZE), SIZE("statx", struct statx),
	FACT(SEEK_CUR), FACT(SOL_SOCKET), FACT(SO_TYPE), FACT(SOCK_STREAM),
	OFFSET("statx.stx_nlink", struct statx, stx_nlink),
	OFFSET("statx.stx_mode", struct statx, stx_mode),
	OFFSET("statx.stx_ino", struct statx, stx_ino),
	OFFSET("statx.stx_size", struct statx, stx_size),
	OFFSET("statx.stx_rdev_major", struct statx, stx_rdev_major),
	OFFSET("statx.stx_dev_major", struct statx, stx_dev_major),
	FACT(SIG_BLOCK), FACT(SIG_SETMASK), SIZE("kernel sigset_t", char[(_NSIG - 1) / CHAR_BIT]),
	FACT(PIPE_BUF), FACT(UIO_MAXIOV), FACT(RWF_NOWAIT), FACT(FIONREAD), FACT(TIOCSCTTY), FACT(TIOCSPGRP),
	FACT(WNOHANG), FACT(WSTOPPED), FACT(WEXITED), FACT(WCONTINUED), FACT(WNOWAIT),
	FACT(P_ALL), FACT(P_PID), FACT(P_PIDFD), FACT(CLD_EXITED), FACT(CLD_KILLED), FACT(CLD_DUMPED),
	FACT(CLD_CONTINUED), FACT(SI_QUEUE), FACT(SI_USER), FACT(SI_TKILL), FACT(MADV_NORMAL),
	FACT(CLONE_CHILD_CLEARTID), FACT(CLONE_CHILD_SETTID), FACT(PR_GET_TID_ADDRESS),
	FACT(CLONE_PIDFD), FACT(CLONE_SIGHAND), FACT(CLONE_THREAD), FACT(CLONE_VFORK), FACT(CLONE_VM),
	FACT(PR_GET_PDEATHSIG), FACT(PR_SET_PDEATHSIG), FACT(PR_SET_DUMPABLE), FACT(PR_SET_CHILD_SUBREAPER), FACT(PROT_NONE),
	FACT(AT_SYMLINK_NOFOLLOW),
	FACT(RLIMIT_CPU), FACT(RLIMIT_FSIZE), FACT(RLIMIT_DATA), FACT(RLIMIT_STACK),
	FACT(RLIMIT_CORE), FACT(RLIMIT_RSS), FACT(RLIMIT_NPROC), FACT(RLIMIT_NOFILE),
	FACT(RLIMIT_MEMLOCK), FACT(RLIMIT_AS), FACT(RLIMIT_LOCKS), FACT(RLIMIT_SIGPENDING),
	FACT(RLIMIT_MSGQUEUE), FACT(RLIMIT_NICE), FACT(RLIMIT_RTPRIO), FACT(RLIMIT_RTTIME),
	FACT(POLLIN), FACT(POLLPRI), FACT(POLLOUT), FACT(POLLERR),
	FACT(POLLHUP), FACT(POLLNVAL), FACT(POLLRDHUP),
	FACT(EPOLL_CTL_ADD), FACT(EPOLL_CTL_DEL), FACT(EPOLL_CTL_MOD), FACT(EPOLL_CLOEXEC),
	FACT(EPOLLIN), FACT(EPOLLPRI), FACT(EPOLLOUT), FACT(EPOLLERR), FACT(EPOLLHUP),
	FACT(EPOLLRDHUP), FACT(EPOLLEXCLUSIVE), FACT(EPOLLONESHOT), FACT(EPOLLET),
	SIZE("epoll_event", struct epoll_event),
	OFFSET("epoll_event.data", struct epoll_event, data),
	FACT(EFD_CLOEXEC), FACT(EFD_NONBLOCK), FACT(EFD_SEMAPHORE),
	SIZE("pollfd", struct pollfd), OFFSET("pollfd.revents", struct pollfd, revents),
	SIZE("__kernel_timespec", struct __kernel_timespec),
	SIZE("siginfo_t", siginfo_t),
	OFFSET("siginfo_t.si_code", siginfo_t, si_code),
	OFFSET("siginfo_t.si_pid", siginfo_t, si_pid),
	OFFSET("siginfo_t.si_uid", siginfo_t, si_uid),
	OFFSET("siginfo_t.si_status", siginfo_t, si_status),
	SIZE("signalfd_siginfo", struct signalfd_siginfo),
	OFFSET("signalfd_siginfo.ssi_code", struct signalfd_siginfo, ssi_code),
	OFFSET("signalfd_siginfo.ssi_pid", struct signalfd_siginfo, ssi_pid),
	OFFSET("signalfd_siginfo.ssi_uid", struct signalfd_siginfo, ssi_uid),
	OFFSET("signalfd_siginfo.ssi_status", struct signalfd_siginfo, ssi_status),
	FACT(SFD_CLOEXEC), FACT(SFD_NONBLOCK),
	SIZE("iovec", struct iovec), SIZE("int", int), SIZE("long", long),
	SIZE("void *", void *),
	FACT(SIGHUP), FACT(SIGINT), FACT(SIGQUIT), FACT(SIGILL), FACT(SIGTRAP), FACT(SIGABRT), FACT(SIGBUS),
	FACT(SIGFPE), FACT(SIGKILL), FACT(SIGUSR1), FACT(SIGSEGV), FACT(SIGUSR2), FACT(SIGPIPE), FACT(SIGALRM),
	FACT(SIGTERM), FACT(SIGCHLD), FACT(SIGCONT), FACT(SIGSTOP), FACT(SIGTSTP), FACT(SIGTTIN), FACT(SIGTTOU),
	FACT(SIGURG), FACT(SIGXCPU), FACT(SIGXFSZ), FACT(SIGVTALRM), FACT(SIGPROF), FACT(SIGWINCH), FACT(SIGIO),
	FACT(SIGPWR), FACT(SIGSYS),
	FACT(EPERM), FACT(ENOENT), FACT(ESRCH), FACT(EINTR), FACT(EIO), FACT(ENXIO), FACT(E2BIG),
	FACT(ENOEXEC), FACT(EBADF), FACT(ECHILD), FACT(EAGAIN), FACT(ENOMEM), FACT(EACCES),
	FACT(EFAULT), FACT(ENOTBLK), FACT(EBUSY), FACT(EEXIST), FACT(EXDEV), FACT(ENODEV),
	FACT(ENOTDIR), FACT(EISDIR), FACT(EINVAL), FACT(ENFILE), FACT(EMFILE), FACT(ENOTTY),
	FACT(ETXTBSY), FACT(EFBIG), FACT(ENOSPC), FACT(ESPIPE), FACT(EROFS), FACT(EMLINK),
	FACT(EPIPE), FACT(EDOM), FACT(ERANGE), FACT(EDEADLK), FACT(ENAMETOOLONG), FACT(ENOLCK),
	FACT(ENOSYS), FACT(ENOTEMPTY), FACT(ELOOP), FACT(ENOMSG), FACT(EIDRM), FACT(ECHRNG),
	FACT(EL2NSYNC), FACT(EL3HLT), FACT(EL3RST), FACT(ELNRNG), FACT(EUNATCH), FACT(ENOCSI),
	FACT(EL2HLT), FACT(EBADE), FACT(EBADR), FACT(EXFULL), FACT(ENOANO), FACT(EBADRQC),
	FACT(EBADSLT), FACT(EBFONT), FACT(ENOSTR), FACT(ENODATA), FACT(ETIME), FACT(ENOSR),
	FACT(ENONET), FACT(ENOPKG), FACT(EREMOTE), FACT(ENOLINK), FACT(EADV), FACT(ESRMNT),
	FACT(ECOMM), FACT(EPROTO), FACT(EMULTIHOP), FACT(EDOTDOT), FACT(EBADMSG), FACT(EOVERFLOW),
	FACT(ENOTUNIQ), FACT(EBADFD), FACT(EREMCHG), FACT(ELIBACC), FACT(ELIBBAD), FACT(ELIBSCN),
	FACT(ELIBMAX), FACT(ELIBEXEC), FACT(EILSEQ), FACT(ERESTART), FACT(ESTRPIPE), FACT(EUSERS),
	FACT(ENOTSOCK), FACT(EDESTADDRREQ), FACT(EMSGSIZE), FACT(EPROTOTYPE), FACT(ENOPROTOOPT),
	FACT(EPROTONOSUPPORT), FACT(ESOCKTNOSUPPORT), FACT(EOPNOTSUPP), FACT(EPFNOSUPPORT),
	FACT(EAFNOSUPPORT), FACT(EADDRINUSE), FACT(EADDRNOTAVAIL), FACT(ENETDOWN),
	FACT(ENETUNREACH), FACT(ENETRESET), FACT(ECONNABORTED), FACT(ECONNRESET), FACT(ENOBUFS),
	FACT(EISCONN), FACT(ENOTCONN), FACT(ESHUTDOWN), FACT(ETOOMANYREFS), FACT(ETIMEDOUT),
	FACT(ECONNREFUSED), FACT(EHOSTDOWN), FACT(EHOSTUNREACH), FACT(EALREADY), FACT(EINPROGRESS),
	FACT(ESTALE), FACT(EUCLEAN), FACT(ENOTNAM), FACT(ENAVAIL), FACT(EISNAM), FACT(EREMOTEIO),
	FACT(EDQUOT), FACT(ENOMEDIUM), FACT(EMEDIUMTYPE), FACT(ECANCELED), FACT(ENOKEY),
	FACT(EKEYEXPIRED), FACT(EKEYREVOKED), FACT(EKEYREJECTED), FACT(EOWNERDEAD),
	FACT(ENOTRECOVERABLE), FACT(ERFKILL), FACT(EHWPOISON),
	{ NULL, 0 },
};

/*
 * .ci/init.c - the first process of a kernel that .ci/kernels has started: it runs every test binary and says how
 * each ended.
 *
 * Its lines begin with "KERNEL ": what it prints about the kernel, each binary's begin, end and status, and "DONE".
 * What a test prints comes through a pipe, as it would in any other run; a test has no terminal. A binary that takes
 * longer than WATCHDOG seconds is killed, with all that it has started, and counts as hung.
 *
 * /plan has a line for each run: a user's number, the binary's path, and which of its tests if not all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *format, ...)
{
	va_list values;

	printf("KERNEL ");
	va_start(values, format);
	vprintf(format, values);
	va_end(values);
	printf("\n");
	fflush(stdout);
}

static void mounted(const char *kind, const char *at, mode_t mode)
{
	mkdir(at, mode);
	if (mount(kind, at, kind, 0, NULL))
		say("has no %s at %s: %s", kind, at, strerror(errno));
	else
		chmod(at, mode);
}

static time_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

/* An ordinary machine's limits and devices; without this the loopback has no address. */
static void settle(void)
{
	struct rlimit files = { 1024, 524288 }, locked = { 8 << 20, 8 << 20 }, core = { 0, RLIM_INFINITY };
	struct ifreq loopback = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd;

	mounted("proc", "/proc", 0555);
	mounted("sysfs", "/sys", 0555);
	mounted("devtmpfs", "/dev", 0755);
	mounted("devpts", "/dev/pts", 0755);
	mounted("tmpfs", "/dev/shm", 01777);
	mounted("tmpfs", "/tmp", 01777);
	mounted("cgroup2", "/sys/fs/cgroup", 0755);
	fd = open("/dev/console", O_RDWR);
	if (fd >= 0) {
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		if (fd > 2)
			close(fd);
	}
	symlink("/proc/self/fd", "/dev/fd");
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_MEMLOCK, &locked);
	setrlimit(RLIMIT_CORE, &core);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &loopback))
		say("has no loopback: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	clearenv();
	setenv("PATH", "/bin", 1);
	setenv("HOME", "/tmp", 1);
	setenv("TMPDIR", "/tmp", 1);
	setenv("RUST_BACKTRACE", "1", 1);
	setenv("RAWPIPE_SKIP_187", "1", 1);
	setenv("RAWPIPE_TEST_SLOW", "1", 1); /* every processor here is emulated */
}

static _Noreturn void become(unsigned user, char *path, char *filter, int output)
{
	char *arguments[] = { path, "--test-threads=2", *filter ? filter : NULL, NULL };
	int null = open("/dev/null", O_RDONLY);

	setsid();
	dup2(null, 0);
	dup2(output, 1);
	dup2(output, 2);
	if (null > 2)
		close(null);
	if (chdir("/tmp"))
		_exit(125);
	if (user && (setgroups(0, NULL) || setresgid(user, user, user) || setresuid(user, user, user)))
		_exit(126);
	execv(path, arguments);
	_exit(127);
}

/* Passes on what has been printed, up to a second's wait. Whether there may be more. */
static int pass_on(int from, int wait)
{
	struct pollfd input = { .fd = from, .events = POLLIN };
	char buffer[4096];
	ssize_t got;

	if (poll(&input, 1, wait) < 1)
		return 0;
	got = read(from, buffer, sizeof buffer);
	if (got <= 0)
		return 0;
	fwrite(buffer, 1, (size_t)got, stdout);
	fflush(stdout);
	return 1;
}

/* Returns the exit status as a shell has it; 124 for one that hung. */
static int run(unsigned user, char *path, char *filter)
{
	int ends[2], status = 0, over = 0, hung = 0;
	time_t begin = now();
	pid_t child, ended;

	if (pipe2(ends, O_CLOEXEC) || (child = fork()) < 0) {
		say("cannot start %s: %s", path, strerror(errno));
		return 125;
	}
	if (child == 0)
		become(user, path, filter, ends[1]);
	close(ends[1]);
	while (!over) {
		int one, more = pass_on(ends[0], 1000);

		while (!over && (ended = waitpid(-1, &one, WNOHANG)) > 0) {
			if (ended == child) {
				over = 1;
				status = one;
			}
		}
		/* The end of the pipe, before the child's: not to spin. */
		if (!more && !over)
			usleep(20000);
		if (!over && !hung && now() - begin > WATCHDOG) {
			hung = 1;
			say("watchdog: %s for user %u has not ended after %d s", path, user, WATCHDOG);
			kill(-1, SIGKILL); /* all but this process */
		}
	}
	/* What is still there was left behind by a test; none may hold up the next one, nor add to its output. */
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	while (pass_on(ends[0], 0))
		;
	close(ends[0]);
	if (hung)
		return 124;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
	struct utsname name;
	char line[600], path[500], filter[80];
	unsigned user;
	FILE *plan;

	settle();
	printf("\n"); /* firmware and kernel may have left the line begun */
	uname(&name);
	say("release %s %s, %ld processors, pages of %ld bytes", name.release, name.machine,
	    sysconf(_SC_NPROCESSORS_ONLN), sysconf(_SC_PAGESIZE));
	plan = fopen("/plan", "re");
	while (plan && fgets(line, sizeof line, plan)) {
		time_t begin = now();
		int status;

		*filter = 0;
		if (sscanf(line, "%u %499s %79s", &user, path, filter) < 2)
			continue;
		say("run %u %s %s", user, path, filter);
		status = run(user, path, filter);
		say("status %d %u %s %ld s", status, user, path, (long)(now() - begin));
	}
	say("DONE");
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

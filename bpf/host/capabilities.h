/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives up capabilities in all threads. They belong to threads, capset(2) is for the one
 * that calls it, and Node.js has started several before our first line runs. So each thread
 * is told by the signal that the C library keeps for the same need of setuid(2), which no
 * thread can block (nptl(7)): its handler is ours until all have obeyed, and none has the
 * signal pending that was sent to it. If one does not, ours stays, for the library's would
 * find nothing that it expects.
 */
#ifndef UNDERSPAN_HOST_CAPABILITIES_H
#define UNDERSPAN_HOST_CAPABILITIES_H
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>

#define SIGNAL_TO_ALL 33 /* glibc: SIGSETXID */
#define ROUNDS 20
#define ROUND_NS 5000000

/* As the kernel has it: the library's sigaction(2) knows nothing of this signal. */
struct kernel_sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static uint64_t capabilities_kept;

/* System calls only: a thread may be interrupted anywhere. */
static void drop_own_capabilities(int signal)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	int saved = errno;

	(void)signal;
	/* What a program that is executed could have again: needs CAP_SETPCAP. */
	for (int cap = 0; cap < 64; cap++)
		if (!(capabilities_kept >> cap & 1))
			syscall(SYS_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
	if (!syscall(SYS_capget, &header, data)) {
		for (int half = 0; half < 2; half++) {
			__u32 kept = capabilities_kept >> (32 * half);

			data[half].effective &= kept;
			data[half].permitted &= kept;
			data[half].inheritable &= kept;
		}
		syscall(SYS_capset, &header, data);
	}
	errno = saved;
}

static bool has_others(pid_t thread)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3,
						   .pid = thread };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return false; /* it has ended */
	return ((uint64_t)data[1].permitted << 32 | data[0].permitted) & ~capabilities_kept;
}

/* Has it been told, and has not come to that yet? Signals of this kind queue. */
static bool is_told(pid_t thread)
{
	char path[64], text[4096], *line;
	ssize_t bytes;
	int file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", thread);
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return false; /* it has ended */
	bytes = read(file, text, sizeof(text) - 1);
	close(file);
	text[bytes > 0 ? bytes : 0] = 0;
	line = strstr(text, "\nSigPnd:");
	return line && strtoull(line + sizeof("\nSigPnd:") - 1, NULL, 16) >> (SIGNAL_TO_ALL - 1) & 1;
}

/* Tells all threads that have more than is kept, and returns how many there are that have, or have not come to it yet; -1 if they
 * cannot be listed. */
static int tell_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	int count = 0;

	if (!tasks)
		return -1;
	while ((entry = readdir(tasks))) {
		pid_t thread = atoi(entry->d_name);
		bool is_late;

		if (thread <= 0)
			continue;
		is_late = is_told(thread);
		if (!is_late && !has_others(thread))
			continue;
		count++;
		if (!is_late)
			syscall(SYS_tgkill, getpid(), thread, SIGNAL_TO_ALL);
	}
	closedir(tasks);
	return count;
}

/* Returns how many threads have kept more, 0 if all is well, -1 where this cannot be done. */
static int drop_capabilities(uint64_t kept)
{
	struct kernel_sigaction theirs, ours;
	struct timespec pause = { .tv_nsec = ROUND_NS };
	int count;

	if (syscall(SYS_rt_sigaction, SIGNAL_TO_ALL, NULL, &theirs, sizeof(theirs.mask)) ||
	    !theirs.handler)
		return -1; /* another C library */
	capabilities_kept = kept;
	ours = theirs;
	ours.handler = drop_own_capabilities;
	ours.mask = ~0ULL;
	if (syscall(SYS_rt_sigaction, SIGNAL_TO_ALL, &ours, NULL, sizeof(ours.mask)))
		return -1;
	/* Who starts a thread before it obeys hands its capabilities on: the next round finds it. */
	for (int round = 0; (count = tell_threads()) > 0 && round < ROUNDS; round++)
		nanosleep(&pause, NULL);
	if (!count)
		syscall(SYS_rt_sigaction, SIGNAL_TO_ALL, &theirs, NULL, sizeof(theirs.mask));
	return count;
}

#endif

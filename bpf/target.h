/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Is this thread's process ours? The first thing that every probe in process
 * context asks; one hash lookup for a thread that was seen before. The answer is
 * cached per thread and renewed when user space raises settings.selection_epoch.
 */
#ifndef UNDERSPAN_TARGET_H
#define UNDERSPAN_TARGET_H

/* A 32-bit thread on a 64-bit kernel numbers its system calls differently. */
static __always_inline bool is_compat_thread(struct task_struct *task)
{
#if defined(__TARGET_ARCH_x86)
	return BPF_CORE_READ(task, thread_info.status) & TS_COMPAT;
#else
	return BPF_CORE_READ(task, thread_info.flags) & (1UL << TIF_32BIT_ARM64);
#endif
}

static __noinline struct thread_state *thread_classify(__u64 pid_tgid, __u32 epoch,
						       const struct settings *s)
{
	__u32 tid = (__u32)pid_tgid, tgid = pid_tgid >> 32;
	struct process_selection *process;
	struct thread_state *known = bpf_map_lookup_elem(&threads, &tid);
	struct thread_state fresh = {};

	if (known)
		fresh = *known; /* what it has taken outlives a new selection */
	fresh.epoch = epoch;
	fresh.include = fresh.exclude = 0;
	fresh.runs_routines = bpf_map_lookup_elem(&routine_processes, &tgid) != NULL;

	if (tgid != agent_pid) {
		process = bpf_map_lookup_elem(&processes, &tgid);
		fresh.include = process ? process->include : s->default_include;
		fresh.exclude = process ? process->exclude : s->default_exclude;
		if (fresh.include && is_compat_thread((void *)bpf_get_current_task())) {
			fresh.include = 0;
			count_loss(LOSS_COMPAT_TASK);
		}
	}
	if (bpf_map_update_elem(&threads, &tid, &fresh, BPF_ANY))
		count_loss(LOSS_THREADS_FULL);
	return bpf_map_lookup_elem(&threads, &tid);
}

/* The state of the current thread if its process is observed, else NULL. */
static __always_inline struct thread_state *thread_selected(__u64 pid_tgid)
{
	__u32 zero = 0, tid = (__u32)pid_tgid;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct thread_state *thread;

	if (!s)
		return NULL;
	thread = bpf_map_lookup_elem(&threads, &tid);
	if (!thread || thread->epoch != s->selection_epoch)
		thread = thread_classify(pid_tgid, s->selection_epoch, s);
	return thread && thread->include ? thread : NULL;
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Is this thread's process ours? The first thing that every probe in process
 * context asks; one look into an array for a thread that is not, one hash lookup more
 * for one that is. The answer is cached per thread and renewed when user space raises
 * settings.selection_epoch.
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

static __always_inline __u64 *unobserved_at(__u32 tid)
{
	__u32 index = tid & ((1 << UNOBSERVED_BITS) - 1);

	return bpf_map_lookup_elem(&unobserved_threads, &index);
}

/* A thread is new, or runs a new program: nothing is known of it. */
static __always_inline void thread_forget(__u32 tid)
{
	__u64 *unobserved = unobserved_at(tid);

	if (unobserved)
		*unobserved = 0;
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
	fresh.pid_tgid = pid_tgid;
	fresh.include = fresh.exclude = 0;
	if (s->ignores_tasks && fresh.context) {
		fresh.context = fresh.outer_context = fresh.item = 0;
		fresh.runs_greenlets = 0;
	}
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
	if (!fresh.include) {
		__u64 *unobserved = unobserved_at(tid);

		if (unobserved)
			*unobserved = (__u64)epoch << 32 | tid;
		if (!known)
			return NULL;
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
	__u64 *unobserved = unobserved_at(tid);
	struct thread_state *thread;

	if (!s || !unobserved || *unobserved == ((__u64)s->selection_epoch << 32 | tid))
		return NULL;
	thread = bpf_map_lookup_elem(&threads, &tid);
	if (!thread || thread->epoch != s->selection_epoch)
		thread = thread_classify(pid_tgid, s->selection_epoch, s);
	return thread && thread->include ? thread : NULL;
}

#endif

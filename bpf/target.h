/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Is this thread's process ours? The first thing that every probe in process
 * context asks: one look into an array for a thread that is not, another one for one
 * that is. The answer is cached per thread and renewed when user space raises
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

/* Names of carriers of virtual threads begin so, in wire order; those of other pools of Java, too. */
#define CARRIER_NAME 0x6e696f4a6b726f46ULL /* ForkJoin */

static __always_inline bool is_carrier(void)
{
	__u64 name[2] = {};

	bpf_get_current_comm(name, sizeof(name));
	return name[0] == CARRIER_NAME;
}

static __always_inline __u64 *unobserved_at(__u32 tid)
{
	__u32 index = tid & ((1 << UNOBSERVED_BITS) - 1);

	return bpf_map_lookup_elem(&unobserved_threads, &index);
}

/* A thread is new, or runs a new program: whether it is observed is to be asked. */
static __always_inline void thread_forget(__u32 tid)
{
	__u64 *unobserved = unobserved_at(tid);

	if (unobserved)
		*unobserved = 0;
}

/* Where a thread may sit: threads that were made one after the other want seats side by side, so
 * the next place to look is far from there. */
static __always_inline __u32 seat_of(__u32 tid, __u32 place)
{
	return (tid + place * SEAT_STRIDE) & seat_mask;
}

static __always_inline struct thread_state *thread_in(__u32 seat)
{
	return bpf_map_lookup_elem(&threads, &seat);
}

/* The seat of a thread that does not sit at its first place, NO_SEAT if it has none. */
__noinline int seat_elsewhere(__u32 tid)
{
	for (__u32 place = 1; place < SEAT_PLACES; place++) {
		__u32 seat = seat_of(tid, place);
		struct thread_state *thread = thread_in(seat);

		if (thread && (__u32)thread->pid_tgid == tid)
			return seat;
	}
	return NO_SEAT;
}

/* What is known of a thread, NULL if nothing is. */
static __always_inline struct thread_state *thread_at(__u32 tid)
{
	struct thread_state *thread = thread_in(seat_of(tid, 0));

	if (thread && (__u32)thread->pid_tgid == tid)
		return thread;
	return thread_in(seat_elsewhere(tid));
}

/* A seat for a thread that has none; NO_SEAT if all its places are taken: it is not observed before
 * one is free. Nobody has to stand up: who sits there may be at work on another CPU. */
__noinline int thread_sit(__u64 pid_tgid)
{
	__u32 tid = pid_tgid;

	for (__u32 place = 0; place < SEAT_PLACES; place++) {
		__u32 seat = seat_of(tid, place);
		struct thread_state *thread = thread_in(seat);

		if (!thread || bpf_map_update_elem(&taken_seats, &seat, &tid, BPF_NOEXIST))
			continue;
		__builtin_memset(thread, 0, sizeof(*thread));
		thread->pid_tgid = pid_tgid;
		return seat;
	}
	count_loss(LOSS_THREADS_FULL);
	return NO_SEAT;
}

/* It is no more. Interrupted while it sat down, it may have taken two seats. */
__noinline int thread_leave(__u32 tid)
{
	for (__u32 place = 0; place < SEAT_PLACES; place++) {
		__u32 seat = seat_of(tid, place);
		struct thread_state *thread = thread_in(seat);

		if (!thread || (__u32)thread->pid_tgid != tid)
			continue;
		thread->pid_tgid = 0;
		bpf_map_delete_elem(&taken_seats, &seat);
	}
	return 0;
}

static __noinline struct thread_state *thread_classify(__u64 pid_tgid, __u32 epoch,
						       const struct settings *s)
{
	__u32 tid = (__u32)pid_tgid, tgid = pid_tgid >> 32, include = 0, exclude = 0;
	struct thread_state *thread = tid ? thread_at(tid) : NULL;
	struct process_selection *process;

	if (tid && tgid != agent_pid) { /* an idle CPU's is nobody's */
		process = bpf_map_lookup_elem(&processes, &tgid);
		include = process ? process->include : s->default_include;
		exclude = process ? process->exclude : s->default_exclude;
		if (include && is_compat_thread((void *)bpf_get_current_task())) {
			include = 0;
			count_loss(LOSS_COMPAT_TASK);
		}
	}
	if (!include) {
		__u64 *unobserved = unobserved_at(tid);

		if (unobserved)
			*unobserved = (__u64)epoch << 32 | tid;
		if (!thread)
			return NULL;
	}
	if (!thread)
		thread = thread_in(thread_sit(pid_tgid));
	if (!thread)
		return NULL;
	/* What it has taken outlives a new selection. */
	thread->epoch = epoch;
	thread->include = include;
	thread->exclude = exclude;
	if (bpf_map_lookup_elem(&routine_processes, &tgid))
		thread->runs_routines = ROUTINES_GO;
	else if (thread->runs_routines == ROUTINES_GO)
		thread->runs_routines = ROUTINES_NONE;
	thread->may_carry = bpf_map_lookup_elem(&java_layouts, &tgid) && is_carrier();
	if (s->ignores_tasks && thread->context) {
		thread->context = thread->outer_context = thread->item = 0;
		thread->runs_greenlets = 0;
	}
	if (s->ignores_tokio)
		thread->task = 0;
	return thread;
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
	thread = thread_at(tid);
	if (!thread || thread->epoch != s->selection_epoch)
		thread = thread_classify(pid_tgid, s->selection_epoch, s);
	return thread && thread->include ? thread : NULL;
}

#endif

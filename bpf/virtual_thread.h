/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Virtual threads of Java, from 21 on: a few threads of a pool, the carriers, run them by turns. While
 * a carrier is in a system call, HotSpot's own memory tells which one it runs: its JavaThread, whose
 * address lies in the register that Java's code keeps it in, has the id of that one (from 24 on), or
 * a handle of its object, in which the id is. The id is never given to another one, so it is a
 * routine's name (routine.h). Where in memory all that is, HotSpot tells to tools that debug it, when it
 * has started: src/discovery/virtual-threads.ts.
 */
#ifndef UNDERSPAN_VIRTUAL_THREAD_H
#define UNDERSPAN_VIRTUAL_THREAD_H

#if defined(__TARGET_ARCH_x86)
#define JAVA_THREAD(context) ((context)->r15)
#else
#define JAVA_THREAD(context) ((context)->regs[28])
#endif

#ifndef PLAIN /* the helpers' results are typed by the kernel's BTF */
static __noinline bool java_learns(struct java_layout *layout)
{
	for (int i = 0; i < JAVA_HEAP; i++) {
		__u32 offset = 0;

		if (layout->at[i])
			bpf_probe_read_user(&offset, sizeof(offset), (void *)layout->at[i]);
		layout->offsets[i] = offset;
	}
	layout->is_known = layout->offsets[JAVA_STACK_BASE] && layout->offsets[JAVA_STACK_SIZE];
	return layout->is_known;
}

static __always_inline __u64 java_word(__u64 object, __u32 offset)
{
	__u64 word = 0;

	if (!object || bpf_probe_read_user(&word, sizeof(word), (void *)(object + offset)))
		return 0;
	return word;
}

/* C code has the register for something else at times: it has to be a thread, whose stack this is. */
static __always_inline bool java_has_stack(struct java_layout *layout, __u64 java_thread, __u64 stack)
{
	__u64 base = java_word(java_thread, layout->offsets[JAVA_STACK_BASE]);

	return stack < base &&
	       base - stack < java_word(java_thread, layout->offsets[JAVA_STACK_SIZE]);
}

/* While the collector moves objects, what leads to them may lead to others. */
static __noinline bool java_moves(struct java_layout *layout)
{
	__u64 heap = java_word(layout->at[JAVA_HEAP], 0);
	__u8 moves = 1;

	bpf_probe_read_user(&moves, sizeof(moves), (void *)(heap + layout->offsets[JAVA_MOVING]));
	return !heap || moves;
}

/* Before Java 24: by the object of the one that it runs, which is its own if that is none. */
static __noinline __u64 java_carried(struct java_layout *layout, __u64 java_thread)
{
	__u64 own = java_word(java_word(java_thread, layout->offsets[JAVA_OBJECT]), 0);
	__u64 carried = java_word(java_word(java_thread, layout->offsets[JAVA_CARRIED]), 0);
	__u64 id;

	if (!layout->offsets[JAVA_ID] || !own || own == carried || java_moves(layout))
		return 0;
	id = java_word(carried, layout->offsets[JAVA_ID]);
	return java_moves(layout) ? 0 : id;
}

/* Which one runs on the thread of the system call at hand? Its id; 0: none, or one that is not known. */
static __noinline __u64 virtual_thread(struct thread_state *thread)
{
	__u32 pid = thread->pid_tgid >> 32;
	struct java_layout *layout = bpf_map_lookup_elem(&java_layouts, &pid);
	struct pt_regs *regs;
	__u64 java_thread = 0, id;

	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) /* Linux 5.15 */
		return 0;
	if (!layout || (!layout->is_known && !java_learns(layout)))
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	if (thread->runs_routines == ROUTINES_VIRTUAL)
		java_thread = thread->java_thread;
	if (!java_has_stack(layout, java_thread, STACK(regs))) {
		java_thread = JAVA_THREAD(regs);
		if (!java_has_stack(layout, java_thread, STACK(regs)))
			return 0;
	}
	if (!layout->offsets[JAVA_OWNER])
		id = java_carried(layout, java_thread);
	else if (java_word(java_thread, layout->offsets[JAVA_ENTRY]))
		id = java_word(java_thread, layout->offsets[JAVA_OWNER]);
	else
		id = 0;
	if (!id)
		return 0;
	thread->runs_routines = ROUTINES_VIRTUAL;
	thread->has_job = JOB_NONE;
	thread->java_thread = java_thread;
	return id;
}
#endif

/* A thread that may be a carrier makes the system call at hand. */
static __noinline void virtual_calls(struct thread_state *thread)
{
#ifndef PLAIN
	__u64 id = virtual_thread(thread);

	if (thread->runs_routines == ROUTINES_VIRTUAL)
		cause_of_routine(thread, id);
#endif
}

#endif

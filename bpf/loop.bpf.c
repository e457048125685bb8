/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Event loops that tell when they turn to something else than a descriptor's bytes: a
 * timer, a callback that was put off, the end of a handle. What the loop does from
 * there on is not for what it took last. By the loop's own functions
 * (src/discovery/loop-probes.ts); the one that every turn passes through says that the
 * loop is watched as a whole, and is attached last.
 */

SEC("uprobe")
int loop_deferred(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		cause_woken(thread);
	return 0;
}

SEC("uprobe")
int loop_turned(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (!thread)
		return 0;
	cause_woken(thread);
	thread->cause.flags |= CAUSE_GUARDED;
	return 0;
}

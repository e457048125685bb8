/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What tokio does with its tasks: see tokio.h. A task's state is the first field of its header,
 * which is what wakers have, too: all name it by the same address.
 */

static __always_inline struct thread_state *tokio_thread(void)
{
	return thread_selected(bpf_get_current_pid_tgid());
}

/* tokio::runtime::task::state::State::transition_to_running(&self): a task's turn begins. */
SEC("uprobe")
int tokio_run(struct pt_regs *ctx)
{
	struct thread_state *thread = tokio_thread();

	count_stat(STAT_TOKIO_STEPS, 1); /* for whatever process: each pays for the probe */
	if (thread)
		tokio_runs(thread, ARGUMENT1(ctx));
	return 0;
}

/* State::transition_to_idle(&self): it ends. */
SEC("uprobe")
int tokio_idle(struct pt_regs *ctx)
{
	struct thread_state *thread = tokio_thread();

	if (thread)
		tokio_rests(thread, ARGUMENT1(ctx), false);
	return 0;
}

/* Where the functions above are inlined: tokio::runtime::task::raw::poll(header) has returned, of whichever
 * kind of task. */
SEC("uretprobe")
int tokio_polled(struct pt_regs *ctx)
{
	struct thread_state *thread = tokio_thread();

	if (thread)
		tokio_rests(thread, thread->task, false);
	return 0;
}

/* State::transition_to_terminal(&self, count): the task has ended, and who waits for it has been woken;
 * or raw::dealloc(header). */
SEC("uprobe")
int tokio_ended(struct pt_regs *ctx)
{
	struct thread_state *thread = tokio_thread();

	if (thread)
		tokio_rests(thread, ARGUMENT1(ctx), true);
	return 0;
}

/* tokio::runtime::task::waker::wake_by_val(header), wake_by_ref(header) */
SEC("uprobe")
int tokio_wake(struct pt_regs *ctx)
{
	struct thread_state *thread = tokio_thread();

	if (thread)
		tokio_wakes(thread, ARGUMENT1(ctx));
	return 0;
}

/* OwnedTasks::bind_inner(&self, task, ...), Spawner::spawn_task(&self, task, ...) */
SEC("uprobe")
int tokio_start(struct pt_regs *ctx)
{
	struct thread_state *thread = tokio_thread();

	if (thread)
		tokio_starts(thread, ARGUMENT2(ctx));
	return 0;
}

/* tokio::task::local::Shared::schedule(&self, task): a task that is run on one thread only is scheduled, after
 * somebody has woken it, or because it is new. */
SEC("uprobe")
int tokio_local(struct pt_regs *ctx)
{
	struct thread_state *thread = tokio_thread();

	if (thread && !routine_find(ARGUMENT2(ctx)))
		tokio_starts(thread, ARGUMENT2(ctx));
	return 0;
}

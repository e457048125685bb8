/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Event loops that tell when they turn to something else than a descriptor's bytes: a
 * timer, a callback that was put off, the end of a handle. What the loop does from
 * there on is not for what it took last. By the loop's own functions
 * (src/discovery/loop-probes.ts); the one that every turn passes through says that the
 * loop is watched as a whole, and is attached last. And programs that tell what they are
 * at: see unit.h.
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
int loop_timers(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (!thread)
		return 0;
	cause_woken(thread);
	thread->timers++;
	return 0;
}

SEC("uprobe")
int loop_turned(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	bool is_next;

	if (!thread)
		return 0;
	is_next = has_flow(&thread->cause);
	cause_turned(thread);
	thread->cause.flags |= CAUSE_GUARDED;
	if (thread->has_ids)
		node_runs_immediates(thread, is_next);
	else
		node_begins(thread, ARGUMENT1(ctx));
	return 0;
}

/* node::TCPWrap::New */
SEC("uprobe")
int loop_opens(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread && thread->has_ids)
		node_opens(thread);
	return 0;
}

/* Builtins_EnqueueMicrotask of V8: somebody waits for a promise that has been settled. */
SEC("uprobe")
int loop_settles(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (!thread || !thread->has_ids)
		return 0;
	count_stat(STAT_PROMISES, 1);
	if (thread->has_ids == IDS_SETTLED || thread->cause.flags & (CAUSE_WAITED | CAUSE_WOKEN))
		node_settles(thread);
	return 0;
}

/* Functions that the thread runs for one of the program's objects, their first or second
 * argument, until they return; */
static __always_inline int unit_entered(struct pt_regs *ctx, __u64 address, bool follows)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (!thread)
		return 0;
	if (address)
		unit_begins(thread, address, PT_REGS_SP(ctx), follows);
	else
		unit_ends(thread, PT_REGS_SP(ctx));
	return 0;
}

SEC("uprobe")
int unit_first(struct pt_regs *ctx)
{
	return unit_entered(ctx, PT_REGS_PARM1(ctx), false);
}

SEC("uprobe")
int unit_second(struct pt_regs *ctx)
{
	return unit_entered(ctx, PT_REGS_PARM2(ctx), false);
}

SEC("uprobe")
int unit_following(struct pt_regs *ctx)
{
	return unit_entered(ctx, PT_REGS_PARM1(ctx), true);
}

SEC("uprobe")
int unit_left(struct pt_regs *ctx)
{
	return unit_entered(ctx, 0, false);
}

/* or that make one, which they return. */
SEC("uprobe")
int unit_made(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		unit_is_made(thread, PT_REGS_RC(ctx));
	return 0;
}

/* uv__work_submit(loop, work, ...) */
SEC("uprobe")
int loop_gives(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		cause_gives(thread, ARGUMENT2(ctx));
	return 0;
}

#define UV_WORK_REQ 88 /* uv_work_t.work_req, as programs are compiled against it */

/* uv_queue_work(loop, request, ...), which may have the one above inside */
SEC("uprobe")
int loop_queues(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		cause_gives(thread, ARGUMENT2(ctx) + UV_WORK_REQ);
	return 0;
}

/* uv__queue_done(work, status), uv__fs_done ...: by uv__work_done, one after the other. */
SEC("uprobe")
int loop_resumes(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		cause_resumes(thread, ARGUMENT1(ctx), 0);
	return 0;
}

/* node::worker::MessagePort::OnMessage: what the port has is taken. */
SEC("uprobe")
int loop_receiving(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		thread->is_receiving = 1;
	return 0;
}

/* Its return: whatever else the loop was woken for comes next. */
SEC("uprobe")
int loop_received(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (!thread)
		return 0;
	thread->is_receiving = 0;
	cause_turned(thread);
	return 0;
}

/* node::worker::Message::Serialize: it is about to be posted. */
SEC("uprobe")
int loop_posts(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		cause_gives(thread, ARGUMENT1(ctx));
	return 0;
}

/* node::worker::Message::Deserialize */
SEC("uprobe")
int loop_receives(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		cause_receives(thread, ARGUMENT1(ctx));
	return 0;
}

#define UV_GETADDRINFO_RESULT 72 /* uv_getaddrinfo_t.addrinfo, from its work_req */

/* uv__getaddrinfo_done(work, status) */
SEC("uprobe")
int loop_looked_up(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	__u64 work = ARGUMENT1(ctx), found = 0;

	if (!thread)
		return 0;
	bpf_probe_read_user(&found, sizeof(found), (void *)(work + UV_GETADDRINFO_RESULT));
	cause_resumes(thread, work, found);
	return 0;
}

/* Return of uv__work_done: whatever else it was woken for comes next. */
SEC("uprobe")
int loop_resumed(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		cause_turned(thread);
	return 0;
}

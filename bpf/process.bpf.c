/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Processes come and go: exec with its arguments (a short-lived client is gone
 * before anybody can look into /proc), fork (a child is observed if its parent
 * is), exit of the last thread.
 */

/* A short-lived program is over before user space has judged it: everything is
 * captured until then, and user space leaves out what is not selected. */
static __always_inline void capture_until_judged(__u32 pid)
{
	struct process_selection undecided = { .include = 0xffffffff, .exclude = 0 };
	__u32 zero = 0;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);

	if (!s || !s->judges_exec || pid == agent_pid)
		return;
	if (bpf_map_update_elem(&processes, &pid, &undecided, BPF_ANY))
		count_loss(LOSS_PROCESSES_FULL);
}

TRACEPOINT(sched_process_exec)
int BPF_PROG(sched_process_exec, struct task_struct *task)
{
	__u32 zero = 0, bytes, tid = bpf_get_current_pid_tgid();
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct exec_scratch *scratch = bpf_map_lookup_elem(&exec_scratches, &zero);
	struct process_exec_event *e;
	__u64 start, end;

	cause_keep(tid);
	thread_forget(tid);
	bpf_map_delete_elem(&routine_processes, &pid);
	bpf_map_delete_elem(&node_layouts, &pid);
	bpf_map_delete_elem(&java_layouts, &pid);
	capture_until_judged(pid);
	if (!scratch)
		return 0;
	e = &scratch->event;
	start = BPF_CORE_READ(task, mm, arg_start);
	end = BPF_CORE_READ(task, mm, arg_end);
	bytes = end > start ? end - start : 0;
	if (bytes > EVENT_ARGS_MAX)
		bytes = EVENT_ARGS_MAX;
	if (bpf_probe_read_user(scratch->args, bytes, (void *)start)) {
		count_loss(LOSS_READ_FAULT);
		bytes = 0;
	}
	fill_header(&e->header, EVENT_PROCESS_EXEC, sizeof(*e) + bytes, bpf_ktime_get_boot_ns());
	e->cgroup_id = bpf_get_current_cgroup_id();
	e->start_ns = BPF_CORE_READ(task, start_boottime);
	e->pid = pid;
	e->parent_pid = BPF_CORE_READ(task, real_parent, tgid);
	e->args_bytes = bytes;
	e->reserved = 0;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	if (bpf_ringbuf_output(&control_ring, e, sizeof(*e) + bytes, BPF_RB_NO_WAKEUP))
		count_loss(LOSS_CONTROL_RING_FULL);
	else
		count_stat(STAT_CONTROL_RECORDS, 1);
	return 0;
}

TRACEPOINT(sched_process_fork)
int BPF_PROG(sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 pid = BPF_CORE_READ(child, tgid), parent_pid = BPF_CORE_READ(parent, tgid);
	struct process_selection *selection;
	struct process_fork_event *e;
	__u32 tid = BPF_CORE_READ(child, pid);

	thread_forget(tid);
	thread_leave(tid); /* the end of the last one with this id went unseen */
	if (pid == parent_pid) { /* a thread */
		java_starts((__u32)bpf_get_current_pid_tgid(), (__u64)pid << 32 | tid);
		return 0;
	}
	cause_inherit((__u32)bpf_get_current_pid_tgid(), pid);
	selection = bpf_map_lookup_elem(&processes, &parent_pid);
	if (selection && parent_pid != agent_pid) {
		struct process_selection copy = *selection;

		if (bpf_map_update_elem(&processes, &pid, &copy, BPF_ANY))
			count_loss(LOSS_PROCESSES_FULL);
	}
	e = CONTROL_RECORD(process_fork_event, EVENT_PROCESS_FORK, bpf_ktime_get_boot_ns());
	if (!e)
		return 0;
	e->pid = pid;
	e->parent_pid = parent_pid;
	control_submit(e);
	return 0;
}

TRACEPOINT(sched_process_exit)
int BPF_PROG(sched_process_exit, struct task_struct *task)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	__u32 tid = pid_tgid, pid = pid_tgid >> 32;
	struct thread_state *thread = thread_at(tid);
	struct process_exit_event *e;

	if (thread && thread->has_ids)
		node_forgets(thread);
	thread_leave(tid);
	thread_forget(tid);
	if (BPF_CORE_READ(task, signal, live.counter) > 0)
		return 0;
	bpf_map_delete_elem(&processes, &pid);
	bpf_map_delete_elem(&routine_processes, &pid);
	bpf_map_delete_elem(&node_layouts, &pid);
	bpf_map_delete_elem(&java_layouts, &pid);
	e = CONTROL_RECORD(process_exit_event, EVENT_PROCESS_EXIT, bpf_ktime_get_boot_ns());
	if (!e)
		return 0;
	e->pid = pid;
	control_submit(e);
	return 0;
}

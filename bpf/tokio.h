/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Tasks of tokio (Rust). A thread runs many by turns, and a task goes on on whichever thread is
 * free; its header's address names it. What is read and written while it is run is its own.
 *  - A task that reads a request is at that until the response is given.
 *  - One that it starts, or wakes, has something to do for that request: a connection's task
 *    of a pool, a worker. So has whom that one starts or wakes next. One call is all that one
 *    such waking is good for, which has a number for that: a worker that goes on with what lay
 *    in its queue was not woken for that.
 *  - A response goes back the same way: who reads it wakes the one that waits for it, and that
 *    one the next, each in the turn in which it was woken. When it comes to a task that is at a
 *    request, that is told of (wake_event); so it is if that one has read it itself.
 * Each alone is too little: what a task is woken for may be another one's job (workers that take
 * the latest first), and who is woken may have waited for something else (a permit). A call is
 * for a request where both name that, and the response wakes nobody else's (src/traces/wakes.ts).
 * Whom the driver wakes, for I/O and timers, is not set to work by anybody.
 * By functions of tokio that are not generic: src/discovery/tokio-tasks.ts.
 */
#ifndef UNDERSPAN_TOKIO_H
#define UNDERSPAN_TOKIO_H

/* In the flags of what a thread is at that runs tasks. */
#define TOKIO_TASK (CAUSE_TASK | CAUSE_CAME)
/* Numbers of wakings by one task, above CAUSE_START_SHIFT. */
#define TOKIO_WAKINGS 32768

static __always_inline bool tokio_is_at(struct event_cause *request)
{
	return request->flags & CAUSE_TAKEN && !is_over(request);
}

static __always_inline void tokio_takes(struct event_cause *to, struct event_cause *take)
{
	to->slot = take->slot;
	to->generation = take->generation;
	to->seq = take->seq;
	to->flags = CAUSE_TAKEN;
}

/* What the task is at: its own request, else what it was set to work for. No CAUSE_TAKEN: nothing. */
static __noinline void tokio_at(struct routine *task, struct event_cause *at)
{
	at->flags = 0;
	if (tokio_is_at(&task->request))
		tokio_takes(at, &task->request);
	else if (tokio_is_at(&task->asked))
		*at = task->asked;
}

/* The same of one that sets another one to work: a waking by one that is at its own request has a number. */
static __noinline void tokio_gives(struct routine *task, struct event_cause *at)
{
	tokio_at(task, at);
	if (at->flags == CAUSE_TAKEN && tokio_is_at(&task->request))
		at->flags |= (++task->wakings % TOKIO_WAKINGS + 1) << CAUSE_START_SHIFT;
}

/* The response has come to a task that is at a request. */
static __noinline void tokio_tells(struct event_cause *response, struct event_cause *request)
{
	struct wake_event *e = CONTROL_RECORD(wake_event, EVENT_WAKE, bpf_ktime_get_boot_ns());
	__u64 id = bpf_get_current_pid_tgid();

	if (!e)
		return;
	e->cause = *response;
	e->request = *request;
	e->parked_ns = e->woken_ns = 0;
	e->pid = id >> 32;
	e->tid = (__u32)id;
	control_submit(e);
}

/* The thread has read, amid a task: bytes of a request, or of a response. */
static __noinline void tokio_reads(struct thread_state *thread, struct connection *c)
{
	struct routine *task;

	if (!is_client(c)) {
		task = routine_renew(thread->task);
		if (task)
			tokio_takes(&task->request, &thread->cause);
		return;
	}
	task = routine_find(thread->task);
	if (!task)
		task = routine_renew(thread->task);
	if (!task)
		return;
	tokio_takes(&task->response, &thread->cause);
	if (tokio_is_at(&task->request))
		tokio_tells(&task->response, &task->request);
}

/* The thread writes: for which request? Outside of tasks: for none that is known. */
static __noinline void tokio_writes(struct thread_state *thread, struct connection *c,
				    struct event_cause *request)
{
	struct routine *task = routine_find(thread->task);

	request->flags = 0;
	if (task && is_client(c)) {
		tokio_at(task, request);
		if (c->direction != DIRECTION_EGRESS)
			task->asked.flags = 0;
	} else if (task && task->request.flags & CAUSE_TAKEN) {
		tokio_takes(request, &task->request);
	}
	request->flags |= TOKIO_TASK;
}

/* A task is set to work, by one that is at that. */
static __noinline void tokio_employs(struct routine *task, struct event_cause *at)
{
	if (task->is_woken && task->asked.flags &&
	    !(at->flags & CAUSE_TAKEN && is_same_take(&task->asked, at)))
		task->asked.flags = CAUSE_WAITED; /* for several */
	else
		task->asked = *at;
	task->is_woken = 1;
}

/* The thread wakes a task. */
static __noinline void tokio_wakes(struct thread_state *thread, __u64 woken)
{
	struct event_cause at = {}, response = {};
	struct routine *waker, *task;

	if (!thread->task || woken == thread->task)
		return;
	waker = routine_find(thread->task);
	task = routine_find(woken);
	if (waker)
		response = waker->response;
	if (task && tokio_is_at(&task->request)) {
		if (response.flags & CAUSE_TAKEN) {
			tokio_tells(&response, &task->request);
			task->next_response = response;
		}
		return;
	}
	if (waker)
		tokio_gives(waker, &at);
	if (!task && (at.flags | response.flags) & CAUSE_TAKEN)
		task = routine_renew(woken);
	if (!task)
		return;
	if (response.flags & CAUSE_TAKEN)
		task->next_response = response;
	tokio_employs(task, &at);
}

/* A new one, at an address where another one may have been before. */
static __noinline void tokio_starts(struct thread_state *thread, __u64 address)
{
	struct routine *starter = routine_find(thread->task), *task;
	struct event_cause at = {};

	if (starter)
		tokio_gives(starter, &at);
	if (!(at.flags & CAUSE_TAKEN)) {
		routine_forget(address);
		return;
	}
	task = routine_renew(address);
	if (task)
		tokio_employs(task, &at);
}

/* The thread runs the task from now on. */
static __noinline void tokio_runs(struct thread_state *thread, __u64 address)
{
	struct routine *task = routine_find(address);

	thread->task = address;
	thread->runs_tasks = 1;
	if (!task)
		return;
	task->is_woken = 0;
	task->response = task->next_response;
	task->next_response.flags = 0;
}

/* It runs none any more. */
static __noinline void tokio_rests(struct thread_state *thread, __u64 address, bool has_ended)
{
	struct routine *task = routine_find(address);

	if (has_ended)
		routine_forget(address);
	else if (task)
		task->response.flags = 0;
	if (thread->task == address)
		thread->task = 0;
}

#endif

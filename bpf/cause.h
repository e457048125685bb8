/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What has this thread taken last? Whatever a thread sends may be caused by it, and
 * user space (src/traces/causes.ts) judges whether it is. Kept with the thread's
 * state, which every probe has looked up anyway, and told with every write and
 * connect: reads inside a run have no record of their own, but they count here.
 */
#ifndef UNDERSPAN_CAUSE_H
#define UNDERSPAN_CAUSE_H

/* A poll of so few is a thread that waits for its own peer (libcurl adds a wake-up
 * socket); a loop has a listener, a connection and what it calls. */
#define POLL_OWN_MAX 2

#define CAUSE_OF_THREAD (CAUSE_LOOPS | CAUSE_GUARDED)

/* From here on the thread's state tells of this goroutine. */
static __always_inline void cause_of_routine(struct thread_state *thread, __u64 routine)
{
	struct routine *known = routine_find(routine);

	thread->routine = routine;
	__builtin_memset(&thread->cause, 0, sizeof(thread->cause));
	__builtin_memset(&thread->request, 0, sizeof(thread->request));
	if (known && !known->takes_items)
		thread->request = known->request;
	else if (known && known->item.flags & CAUSE_ITEM)
		thread->request = known->item;
	thread->request.flags |= CAUSE_ROUTINE;
}

static __always_inline void cause_keep_routine(struct thread_state *thread)
{
	struct routine *routine = routine_renew(thread->routine);

	if (routine)
		routine->request = thread->request;
}

/* Its goroutine calls somebody while it works on an item: bpf/go_channel.h. */
static __noinline void cause_calls(struct thread_state *thread)
{
	struct routine *routine = routine_find(thread->routine);

	if (routine)
		routine->has_called = 1;
}

/* What a write of the thread on this connection may be caused by. */
static __always_inline void cause_of_write(struct thread_state *thread, struct connection *c,
					   struct event_cause *cause, struct event_cause *request)
{
	*cause = thread->cause;
	*request = c->handed.flags ? c->handed : thread->request;
	if (c->handed.flags)
		cause->flags |= c->handed_name;
	if (has_units(thread)) {
		unit_tells(thread, request);
	} else if (thread->runs_routines) {
		if (!c->handed.flags && request->flags & CAUSE_ITEM)
			cause_calls(thread);
	} else if (thread->context || thread->item) {
		cause->flags |= python_writes(thread, c, request);
	}
}

/* What a connect of the thread may be caused by. */
static __always_inline void cause_of_connect(struct thread_state *thread, struct event_cause *cause)
{
	*cause = thread->cause;
	if (has_units(thread))
		unit_tells(thread, cause);
}

/* Bytes up to `seq` were taken from the connection. */
static __always_inline void cause_taken(struct thread_state *thread, struct connection *c,
					__u32 slot, __u32 seq, __u32 flags)
{
	struct event_cause *cause = &thread->cause, *request = &thread->request;

	if (c->session)
		return; /* ciphertext: what is taken is the plaintext, from the session */
	if (thread->sole) {
		bool is_other = thread->sole == SOLE_TAKEN && thread->sole_slot != slot;

		thread->sole = is_other ? SOLE_NONE : SOLE_TAKEN;
		thread->sole_slot = slot;
	}
	cause->slot = slot;
	cause->generation = c->generation;
	cause->seq = seq;
	cause->flags = (cause->flags & CAUSE_OF_THREAD) | CAUSE_TAKEN | flags |
		       (thread->sole ? CAUSE_SOLE : 0);
	if (thread->context && !(flags & CAUSE_ENDED))
		python_takes(thread, c);
	if (is_client(c) || flags & CAUSE_ENDED)
		return;
	request->slot = slot;
	request->generation = c->generation;
	request->seq = seq;
	request->flags = (request->flags & (CAUSE_LOOPS | CAUSE_ROUTINE)) | CAUSE_TAKEN;
	if (thread->runs_routines) {
		cause_keep_routine(thread);
	} else if (thread->has_units && thread->unit) {
		unit_takes(thread, request);
	} else {
		thread->item = 0;
		thread->has_request = 1;
	}
}

/* The thread has come to a request that another one took: bytes up to `seq`. */
static __always_inline void cause_came(struct thread_state *thread, struct connection *c,
				       __u32 slot, __u32 seq)
{
	struct event_cause *request = &thread->request;

	if (request->slot == slot && request->generation == c->generation && request->seq == seq &&
	    request->flags & CAUSE_TAKEN && !(request->flags & CAUSE_WAITED))
		return; /* it has taken that itself */
	request->slot = slot;
	request->generation = c->generation;
	request->seq = seq;
	request->flags = (request->flags & CAUSE_LOOPS) | CAUSE_TAKEN | CAUSE_CAME;
}

/* The thread has waited for any of several descriptors: what it does next may be
 * for any of them. */
static __always_inline void cause_waited(struct thread_state *thread)
{
	thread->cause.flags |= CAUSE_WAITED | CAUSE_LOOPS;
	thread->request.flags |= CAUSE_WAITED | CAUSE_LOOPS;
	thread->sole = SOLE_NONE;
	thread->unclaimed = UNCLAIMED_NONE;
	if (has_units(thread))
		thread->unit = 0;
}

/* Loops round up what they wait for their next timer, some of them twice. */
#define TIMEOUT_ROUNDING_NS 2000000ULL

/* epoll_wait returned. A loop that would have slept has nothing left to run, and its
 * timeout says when its next timer is due: if it is told of one descriptor before
 * that, nothing else sets it to work. A loop that only looks, and is told of nothing,
 * goes on with what it has. */
static __always_inline void cause_polled(struct thread_state *thread, long count, __s32 timeout_ms)
{
	__u64 now = bpf_ktime_get_boot_ns(), since = thread->waited_ns;
	bool is_sole;

	thread->last_waited_ns = since;
	thread->waited_ns = now;
	if (timeout_ms) {
		thread->due_ns = timeout_ms < 0 ? ~0ULL : since + timeout_ms * 1000000ULL;
		is_sole = count == 1;
	} else {
		is_sole = count == 1 && thread->sole == SOLE_ACCEPTED;
	}
	is_sole = is_sole && now + TIMEOUT_ROUNDING_NS < thread->due_ns;
	if (!timeout_ms && !count && thread->sole && now + TIMEOUT_ROUNDING_NS < thread->due_ns)
		return;
	cause_waited(thread);
	if (is_sole)
		thread->sole = SOLE_REPORTED;
}

/* Something other than a connection's bytes set the thread to work. */
static __always_inline void cause_woken(struct thread_state *thread)
{
	thread->cause.flags |= CAUSE_WOKEN;
	thread->request.flags |= CAUSE_WOKEN;
	thread->sole = SOLE_NONE;
	thread->unclaimed = UNCLAIMED_NONE;
}

/* It has accepted a connection: that alone sends nothing. */
static __always_inline void cause_accepted(struct thread_state *thread)
{
	bool is_sole = thread->sole == SOLE_REPORTED || thread->sole == SOLE_ACCEPTED;

	cause_woken(thread);
	if (is_sole)
		thread->sole = SOLE_ACCEPTED;
}

/* A new process goes on with what the forking thread was doing (CGI); so does the
 * program that it then executes. */
static __always_inline void cause_inherit(__u32 parent_tid, __u32 tid)
{
	struct thread_state *parent = bpf_map_lookup_elem(&threads, &parent_tid);
	struct thread_state child = {};

	if (!parent || !(parent->request.flags & CAUSE_TAKEN))
		return;
	child.request = parent->request;
	child.request.flags |= CAUSE_INHERITED;
	if (bpf_map_update_elem(&threads, &tid, &child, BPF_ANY))
		count_loss(LOSS_THREADS_FULL);
}

/* The thread runs a new program: whether that is observed is to be asked again. */
static __always_inline void cause_keep(__u32 tid)
{
	struct thread_state *thread = bpf_map_lookup_elem(&threads, &tid);

	if (thread) {
		thread->epoch = 0;
		thread->cause.flags = 0;
		thread->context = thread->outer_context = thread->item = 0;
		thread->has_request = thread->has_units = 0;
		thread->runs_greenlets = 0;
	}
}

#endif

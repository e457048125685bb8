/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Threads of Java that set each other to work. Who waits for a lock, a future or a queue
 * does so in LockSupport.park, and one other thread ends that, by unpark: HotSpot tells of
 * both (src/discovery/java-threads.ts), and names the thread by its Parker. Whom it wakes
 * comes to what the waker is at:
 *  - to the response that the waker took last, or came to: whose thread waits for a call
 *    (java.net.http.HttpClient, whose selector reads it; a Future) is woken because of it;
 *  - to the request that the waker, an I/O thread, has just read, unless it has taken one
 *    itself that is not over: it is a worker (Undertow).
 * A queue may give somebody else's job to the one that was woken, and a lock is no job at
 * all. So neither is believed before the same thread has sent the call and given the
 * request's response (src/traces/causes.ts).
 *
 * Who is woken, or started, by a thread at a request does something for it, and so does whom
 * that one wakes; a selector's threads do it for one that is not known, and that has asked
 * since the selector had looked last but one. Whose the call is that it sends shows when a
 * response wakes a thread that serves a request, which is told of (wake_event): by itself
 * that, too, is too little, see src/traces/wakes.ts.
 */
#ifndef UNDERSPAN_JAVA_H
#define UNDERSPAN_JAVA_H

static __always_inline struct session_key parker_key(__u64 parker)
{
	struct session_key key = { .session = parker,
				   .pid = bpf_get_current_pid_tgid() >> 32 };

	return key;
}

/* Has it taken what is not over, and not been told of anything else? */
static __always_inline bool java_is_at(struct event_cause *take)
{
	return take->flags & CAUSE_TAKEN &&
	       !(take->flags & (CAUSE_WAITED | CAUSE_WOKEN | CAUSE_ENDED));
}

/* The thread waits from now on. */
static __noinline void java_parks(struct thread_state *thread, __u64 parker)
{
	struct session_key key = parker_key(parker);
	__u32 tid = (__u32)thread->pid_tgid, *known = bpf_map_lookup_elem(&parkers, &key);

	count_stat(STAT_THREAD_PARKS, 1);
	thread->is_parked = !thread->has_permit;
	thread->has_permit = 0;
	thread->parked_ns = bpf_ktime_get_boot_ns();
	if (known && *known == tid)
		return;
	if (bpf_map_update_elem(&parkers, &key, &tid, BPF_ANY))
		count_loss(LOSS_THREADS_FULL);
}

/* A worker of HttpClient's goes on with what a thread of the same client has read: it has threads of its own. */
static __noinline void java_works_for_client(struct thread_state *thread)
{
	struct connection *c = connection_at(thread->cause.slot);

	if (c && c->generation == thread->cause.generation && is_client(c) &&
	    client_number() == thread->client)
		pool_tells(c);
}

/* It goes on: if nobody has woken it, it was time. */
static __always_inline void java_goes_on(struct thread_state *thread)
{
	if (thread->client && thread->cause.flags & CAUSE_CAME)
		java_works_for_client(thread);
	if (thread->is_parked)
		thread->has_job = JOB_NONE;
	thread->is_parked = 0;
}

/* Is it at a request that it has taken, or has come to as a worker of the server? */
static __always_inline bool java_serves(struct thread_state *thread)
{
	return java_is_at(&thread->request) && !is_over(&thread->request);
}

/* What the waker has taken is what has woken it. */
static __noinline void java_passes(struct thread_state *waker, struct thread_state *woken)
{
	struct event_cause *cause = &woken->cause, *request = &woken->request;
	bool is_serving = java_is_at(request) && !(request->flags & CAUSE_CAME) && !is_over(request);

	/* A loop that is amid what it has taken itself. */
	if (!is_serving && cause->flags & CAUSE_LOOPS && java_is_at(cause))
		return;
	cause->flags &= CAUSE_OF_THREAD;
	woken->client = 0;
	if (!waker->runs_routines && java_is_at(&waker->cause)) {
		woken->client = client_number();
		cause->slot = waker->cause.slot;
		cause->generation = waker->cause.generation;
		cause->seq = waker->cause.seq;
		cause->flags |= CAUSE_TAKEN | CAUSE_CAME;
	}
	if (is_serving || !java_is_at(&waker->request) ||
	    (waker->request.flags & (CAUSE_CAME | CAUSE_LOOPS)) != CAUSE_LOOPS)
		return;
	request->slot = waker->request.slot;
	request->generation = waker->request.generation;
	request->seq = waker->request.seq;
	request->flags = (request->flags & CAUSE_LOOPS) | CAUSE_TAKEN | CAUSE_CAME;
}

/* What the thread is at, for which it may set another one to work; NULL if that is not known. */
static __noinline struct event_cause *java_job(struct thread_state *thread)
{
	struct event_cause *job = thread->has_job ? &thread->job : &thread->request;

	return (thread->has_job || java_is_at(job)) && !is_over(job) ? job : NULL;
}

static __always_inline void java_takes_job(struct thread_state *thread, struct event_cause *job)
{
	thread->no_item = 0;
	thread->job.slot = job->slot;
	thread->job.generation = job->generation;
	thread->job.seq = job->seq;
	thread->job.flags = CAUSE_TAKEN | CAUSE_HANDED;
	thread->has_job = JOB_NEW;
}

/* Whoever wants it to be done has not wanted it before that. */
static __always_inline void java_takes_any(struct thread_state *thread, __u64 since_ns)
{
	if (!since_ns)
		return;
	thread->no_item = 0;
	thread->job.slot = thread->job.seq = 0;
	thread->job.generation = since_ns / 1000;
	thread->job.flags = CAUSE_HANDED;
	thread->has_job = JOB_NEW;
}

/* The one that is woken has something to do for the one that wakes it, and for what that is at. */
static __noinline void java_employs(struct thread_state *waker, struct thread_state *woken)
{
	struct event_cause *job;

	woken->has_job = JOB_NONE;
	if (java_serves(woken))
		return;
	job = is_carrier() ? NULL : java_job(waker);
	if (job)
		java_takes_job(woken, job);
	else if (waker->cause.flags & CAUSE_LOOPS)
		java_takes_any(woken, waker->last_waited_ns);
}

/* It serves a request, and goes on because of a response. */
static __noinline void java_tells(struct thread_state *woken)
{
	struct wake_event *e;

	if (!(woken->cause.flags & CAUSE_TAKEN))
		return;
	e = CONTROL_RECORD(wake_event, EVENT_WAKE, bpf_ktime_get_boot_ns());
	if (!e)
		return;
	e->cause = woken->cause;
	e->request = woken->request;
	e->parked_ns = woken->parked_ns;
	e->woken_ns = woken->woken_ns;
	e->pid = woken->pid_tgid >> 32;
	e->tid = (__u32)woken->pid_tgid;
	control_submit(e);
}

/* The thread ends another one's wait, which was still on, or about to begin: nobody else does. */
static __noinline void java_unparks(struct thread_state *thread, __u64 parker)
{
	struct session_key key = parker_key(parker);
	__u32 *tid = bpf_map_lookup_elem(&parkers, &key);
	struct thread_state *woken = tid ? thread_at(*tid) : NULL;
	bool is_serving;

	if (!woken || woken == thread || woken->has_permit ||
	    woken->pid_tgid >> 32 != thread->pid_tgid >> 32)
		return;
	if (!woken->is_parked) {
		woken->has_permit = 1;
		woken->parked_ns = bpf_ktime_get_boot_ns();
	}
	woken->is_parked = 0;
	if (woken->runs_routines)
		return; /* it has several things to do */
	is_serving = java_serves(woken);
	java_passes(thread, woken);
	if (is_serving) {
		java_tells(woken);
		woken->woken_ns = bpf_ktime_get_boot_ns();
	} else {
		java_employs(thread, woken);
	}
}

/* A new thread has something to do for the one that has started it, as one that is woken. */
static __noinline void java_starts(__u32 starter_tid, __u64 pid_tgid)
{
	struct thread_state *starter = thread_at(starter_tid), *started;

	if (!starter || !starter->parked_ns)
		return;
	started = thread_in(thread_sit(pid_tgid));
	if (!started)
		return;
	java_passes(starter, started);
	java_employs(starter, started);
}

#endif

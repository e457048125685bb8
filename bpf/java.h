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
 * request's response (src/traces/causes.ts). A job that another thread does for one that
 * waits for it is not told from what that does next: who wakes whom is too little.
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
	thread->is_parked = 1;
	if (known && *known == tid)
		return;
	if (bpf_map_update_elem(&parkers, &key, &tid, BPF_ANY))
		count_loss(LOSS_THREADS_FULL);
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
	if (java_is_at(&waker->cause)) {
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

/* The thread ends another one's wait, which was still on: nobody else does. */
static __noinline void java_unparks(struct thread_state *thread, __u64 parker)
{
	struct session_key key = parker_key(parker);
	__u32 *tid = bpf_map_lookup_elem(&parkers, &key);
	struct thread_state *woken = tid ? thread_at(*tid) : NULL;

	if (!woken || woken == thread || !woken->is_parked ||
	    woken->pid_tgid >> 32 != thread->pid_tgid >> 32)
		return;
	woken->is_parked = 0;
	java_passes(thread, woken);
}

#endif

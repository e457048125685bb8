/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Jobs: what threads at requests give to a ThreadPoolExecutor (python_queue.h), from when
 * a thread of the executor begins it. Its future has a lock, an RLock that the thread
 * takes twice: before it begins (the first such lock that it takes then), and when it
 * has ended; whoever asks for the result takes it, too. Other locks are used by others for
 * much else, this one only by who has the future. A call of a job is the request's
 *  - if a thread at the request asks for the result when the job has ended, and then
 *    gives the response (src/traces/hand-overs.ts);
 *  - if the job has not set another request's thread to work (a Condition's waiters lie
 *    in a deque): it may have done something for that one;
 *  - if the job that has given it to the executor, where it was one, has asked for its result.
 * By the lock a job is found, so it is forgotten when that is freed.
 */
#ifndef UNDERSPAN_PYTHON_JOB_H
#define UNDERSPAN_PYTHON_JOB_H

/* No object has such an address, and no item of a queue. */
static __always_inline __u64 job_of_lock(__u64 lock)
{
	return lock | 2;
}

/* The thread begins the item. */
static __noinline void job_begins(struct routine *item, __u64 key)
{
	struct routine *job = routine_renew(key), *outer;

	item->job = key;
	if (!job)
		return;
	job->request = item->request;
	job->born = item->born;
	job->name = python_name(item->first, item->first_born);
	job->outer = item->outer;
	job->outer_born = item->outer_born;
	if (!item->outer)
		return;
	outer = routine_find(item->outer);
	if (outer && outer->born == item->outer_born)
		job->name = outer->name;
	else
		job->strayed = 1;
}

static __noinline void job_tells(struct routine *job, __u16 outcome)
{
	struct work_event *e;

	e = CONTROL_RECORD(work_event, EVENT_WORK, bpf_ktime_get_boot_ns());
	if (!e)
		return;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->slot = job->request.slot;
	e->generation = job->request.generation;
	e->name = job->name >> CAUSE_START_SHIFT;
	e->outcome = outcome;
	control_submit(e);
}

/* A thread asks for the result of a job that has ended: it is at the request itself, or at the
 * job that gave that one to the executor. */
static __noinline void job_returns(struct thread_state *thread, struct routine *job, __u64 key)
{
	struct event_cause *request = request_at_hand(thread);
	struct routine *item = item_at_hand(thread), *outer;

	if (!request || !is_same_take(request, &job->request) || !job->calls ||
	    (item ? item->job : 0) != job->outer)
		return;
	if (!job->outer) {
		job_tells(job, job->calling || job->strayed ? WORK_STRAYED : WORK_RETURNED);
	} else if (!job->calling) {
		outer = job_of_item(item);
		if (outer && outer->born == job->outer_born && outer->calling)
			__sync_fetch_and_add(&outer->calling, -1);
	}
	routine_forget(key);
}

/* The thread takes a lock. */
static __noinline void lock_taken(struct thread_state *thread, __u64 lock)
{
	struct routine *item = item_at_hand(thread), *job;
	__u64 key = job_of_lock(lock);

	if (item && item->is_work && !item->job) {
		job_begins(item, key);
		return;
	}
	job = routine_find(key);
	if (!job)
		return;
	if (item && item->job == key)
		job->has_ended = item->has_ended = 1;
	else if (job->has_ended)
		job_returns(thread, job, key);
}

/* The thread sets the one to work that has put the object into a deque to wait there. */
static __noinline void waiter_woken(struct thread_state *thread, struct routine *waiter)
{
	struct routine *item = item_at_hand(thread), *job;

	if (!item || !item->job || !(waiter->request.flags & CAUSE_TAKEN) ||
	    is_same_take(&waiter->request, &item->request))
		return;
	job = routine_find(item->job);
	if (!job || job->born != item->born)
		return;
	job->strayed = 1;
	if (job->calls)
		job_tells(job, WORK_STRAYED);
}

#endif

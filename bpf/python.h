/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * asyncio tasks (Python 3.7 and later): each has a context of its own (PEP 567), in
 * which all its steps run, so that the context which a thread is in names the task.
 * A task is at a request
 *  - that its context took, or
 *  - whose bytes were taken in the run that set the future which then set it to work:
 *    a reader's callback has a context of its own, and wakes up the task that waits, maybe
 *    by a callback that passes the future on at once, or
 *  - that the context was at from which its own was copied: the task that started it.
 * Whether a task was at nothing else meanwhile is known when the response is given
 * (src/traces/claims.ts). One that was started may go on for others: what it calls
 * counts as long as the one that started it sleeps until it has ended, or set it to
 * work. Callbacks have copies of contexts, too: they are no tasks that end, and a
 * reader's is at what it reads, not at what it was made for.
 * A copy that runs on another thread (asyncio.to_thread, anyio, asgiref: functions that
 * block) is entered for the one call and left when that has ended. If it wakes up the
 * loop meanwhile, it may be a worker that has done something for somebody.
 * An item that a thread of an executor takes (python_queue.h, run_in_executor) is like such
 * a copy. What it has the loop call runs in a copy of the thread's context, and tells by
 * whom it sets to work for whom the item has done something.
 */
#ifndef UNDERSPAN_PYTHON_H
#define UNDERSPAN_PYTHON_H

/* PyContext: two words of an object, ctx_prev, ctx_vars, ctx_weakreflist, then the int
 * ctx_entered, which is 1 while the context is run. */
#define PY_CONTEXT_ENTERED 40
/* In the place of one that was freed: something else may lie there that looks entered. */
#define PY_CONTEXT_GONE 1
/* Generations of tasks that start tasks. */
#define PY_STARTERS_MAX 3

/* Items of queues are objects; no object has an odd address. */
static __always_inline bool is_item(__u64 routine)
{
	return routine & 1;
}

static __always_inline bool python_is_entered(__u64 context)
{
	__u32 entered = 0;

	return context > PY_CONTEXT_GONE &&
	       !bpf_probe_read_user(&entered, sizeof(entered),
				    (void *)(context + PY_CONTEXT_ENTERED)) &&
	       entered == 1;
}

/* NULL: of no observed process. How often this is passed tells what following costs, whatever
 * the process: each pays for the probe. */
static __always_inline struct thread_state *task_thread(void)
{
	count_stat(STAT_TASK_STEPS, 1);
	return thread_selected(bpf_get_current_pid_tgid());
}

static __always_inline __u32 python_thread(void)
{
	return (__u32)bpf_get_current_pid_tgid();
}

/* The context in which the thread is; 0: in none that is known. */
static __noinline __u64 python_context(struct thread_state *thread)
{
	__u64 context = thread->context;
	struct routine *task;

	if (thread->runs_greenlets)
		return context;
	if (!python_is_entered(context)) {
		context = thread->outer_context;
		if (!python_is_entered(context))
			return 0;
	}
	/* The thread may have left it long ago, and another one be in what lies there now. */
	task = routine_find(context);
	return task && task->runner && task->runner != python_thread() ? 0 : context;
}

static __always_inline bool is_same_take(struct event_cause *one, struct event_cause *other)
{
	return one->slot == other->slot && one->generation == other->generation &&
	       one->seq == other->seq;
}

/* A new one at its address. */
static __always_inline void python_is_born(struct routine *task)
{
	task->born = (__u32)bpf_ktime_get_ns() | 1;
}

/* The one that was there when it was `born`, if it is still at that request. */
static __always_inline struct routine *python_same(__u64 context, __u32 born,
						   struct event_cause *request)
{
	struct routine *task = routine_find(context);

	return task && task->born == born && is_same_take(&task->request, request) ? task : NULL;
}

/* The one that started it, if it is still at the same request. */
static __always_inline struct routine *python_starter(struct routine *task)
{
	return python_same(task->starter, task->starter_born, &task->request);
}

static __always_inline struct routine *python_first(struct routine *task)
{
	return task->starter ? python_same(task->first, task->first_born, &task->request) : task;
}

/* `made` is at what the one in `context` is at, because of that one. */
static __always_inline void python_starts(struct routine *made, __u64 context,
					  struct routine *starter)
{
	made->starter = context;
	made->starter_born = starter->born;
	made->first = starter->starter ? starter->first : context;
	made->first_born = starter->starter ? starter->first_born : starter->born;
}

/* The context comes to the request, and whatever it was at before is over for it. */
static __always_inline void python_arrives(__u64 context, struct event_cause *request)
{
	struct routine *task = routine_renew(context);

	if (!task)
		return;
	python_is_born(task);
	task->request.slot = request->slot;
	task->request.generation = request->generation;
	task->request.seq = request->seq;
	task->request.flags = CAUSE_TAKEN;
	task->runner = python_thread();
}

/* The context at hand gets the bytes that the thread took last. */
static __noinline void python_gets(struct thread_state *thread, __u64 context, __u32 unclaimed)
{
	struct routine *task;

	if (unclaimed == UNCLAIMED_REQUEST) {
		python_arrives(context, &thread->cause);
		thread->has_taken = 1;
		return;
	}
	thread->has_answer = 1;
	task = thread->has_called || thread->runs_greenlets ? NULL : routine_find(context);
	if (task && task->is_copy)
		routine_renew(context);
}

/* Bytes were taken: of a request, or of a response. */
static __noinline void python_takes(struct thread_state *thread, struct connection *c)
{
	__u32 unclaimed = is_client(c) ? UNCLAIMED_RESPONSE : UNCLAIMED_REQUEST;
	__u64 context = python_context(thread);

	if (context)
		python_gets(thread, context, unclaimed);
	else
		thread->unclaimed = unclaimed;
}

/* The item of a queue that the thread works on; another one may lie there by now, which is
 * somebody else's. */
static __noinline struct routine *item_at_hand(struct thread_state *thread)
{
	struct routine *item = routine_find(thread->item);
	__u32 zero = 0;
	struct settings *now;

	if (!item || item->runner != python_thread())
		return NULL;
	now = bpf_map_lookup_elem(&settings, &zero);
	return now && !now->ignores_items ? item : NULL;
}

/* What the thread is at: a task, or an item. */
static __noinline __u64 python_at(struct thread_state *thread)
{
	__u64 context = python_context(thread);

	if (context)
		return context;
	return item_at_hand(thread) ? thread->item : 0;
}

static __always_inline bool python_is_apart(struct routine *task)
{
	return task->is_copy && task->runner && task->maker != task->runner;
}

/* Is the copy, which the task at `starter` made, still run on its thread? */
static __noinline bool python_is_run(__u64 copy, __u64 starter, __u32 born)
{
	struct routine *made = routine_find(copy);

	if (!made || made->starter != starter || made->starter_born != born || !python_is_apart(made))
		return false;
	return is_item(copy) ? !made->has_ended : python_is_entered(copy);
}

/* Does a copy of the task's, which has called, still run on another thread? */
static __noinline bool python_is_left(struct routine *task, __u64 context)
{
	for (int i = 0; i < PY_APART_MAX && task->apart[i]; i++)
		if (python_is_run(task->apart[i], context, task->born))
			return true;
	return false;
}

/* A copy of the task's calls on another thread. What there is no room for has no end. */
static __noinline void python_parts(struct routine *task, __u64 context, __u64 copy)
{
	for (int i = 0; i < PY_APART_MAX; i++) {
		if (task->apart[i] && python_is_run(task->apart[i], context, task->born))
			continue;
		task->apart[i] = copy;
		return;
	}
	task->calling++;
}

/* A started task calls somebody. */
static __always_inline void python_calls(struct thread_state *thread, struct routine *task,
					 __u64 context)
{
	for (int i = 0; i < PY_STARTERS_MAX && task && task->starter && !task->calls; i++) {
		struct routine *starter = python_starter(task), *first;

		task->calls = 1;
		if (starter && i == 0 && python_is_apart(task)) {
			python_parts(starter, task->starter, context);
		} else if (starter) {
			starter->calling++;
			starter->called_ns = thread->waited_ns;
		} else {
			first = python_first(task);
			if (first)
				first->strayed = 1;
		}
		task = starter;
	}
}

/* sock_connect() sets one at once where that is done, and a StreamWriter has one. */
#define PY_OWN_FUTURES 2

/* A task connects. */
static __noinline void python_connects(struct thread_state *thread)
{
	struct routine *task = thread->runs_greenlets ? NULL : routine_find(python_context(thread));

	if (task)
		task->connects = PY_OWN_FUTURES;
}

/* Somebody who was started for the request goes on for nobody who waits for him. */
static __always_inline void python_strays(struct routine *task)
{
	struct routine *first = python_first(task);

	if (first)
		first->strayed = 1;
}

/* It has ended: a task that waits for it may go on. */
static __always_inline void python_ends(struct routine *task, __u64 context)
{
	struct routine *starter;

	if (!task->calls)
		return;
	if (python_is_left(task, context))
		python_strays(task);
	task->calls = 0;
	starter = python_starter(task);
	if (starter && starter->calling)
		starter->calling--;
}

/* 15 bits of an address and of who is there, which are never 0 with the one that is set. */
static __always_inline __u32 python_name(__u64 context, __u32 born)
{
	__u64 name = (context ^ (__u64)born << 32) * 0x9e3779b97f4a7c15ULL;

	return ((__u32)(name >> 48) | 1) << CAUSE_START_SHIFT;
}

/* Of who was first at the request that the one in `context` is at. */
static __always_inline __u16 first_name(struct routine *task, __u64 context)
{
	bool is_first = !task->starter;

	return python_name(is_first ? context : task->first, is_first ? task->born : task->first_born) >>
	       CAUSE_START_SHIFT;
}

/* Does who is at the request answer somebody else? Then what it has called may be for others, too. */
static __noinline bool serves_other(struct event_cause *request, struct connection *c)
{
	struct connection *own = bpf_map_lookup_elem(&connections, &request->slot);

	/* What is written there is what a session has encrypted. */
	if (c->session)
		return false;
	return !own || own->generation != request->generation || own->sk != c->sk;
}

/* The job that an executor's item is, if it goes on. */
static __noinline struct routine *job_of_item(struct routine *item)
{
	struct routine *job = routine_find(item->job);

	return job && job->born == item->born && !job->has_ended ? job : NULL;
}

/* A thread of an executor calls somebody: bpf/python_job.h. 0: nobody knows for whom. */
static __noinline __u32 job_calls(struct routine *item)
{
	struct routine *job = job_of_item(item), *outer;

	if (!job || job->strayed)
		return 0;
	if (job->outer) {
		outer = routine_find(job->outer);
		if (!outer || outer->born != job->outer_born || outer->has_ended || outer->strayed)
			return 0;
		if (!job->calls)
			__sync_fetch_and_add(&outer->calling, 1);
		outer->calls = 1;
	}
	job->calls = 1;
	return CAUSE_TASK | CAUSE_TAKEN | CAUSE_ITEM | job->name;
}

/* The thread writes to `c`: what is the task at hand at? `request` is left as it is if
 * that is not known. Returns the task's own name, 0 if that is so. */
static __noinline __u32 python_writes(struct thread_state *thread, struct connection *c,
				      struct event_cause *request)
{
	__u64 context = python_at(thread);
	struct routine *task = routine_find(context), *first;
	bool has_first;
	__u32 flags, name;

	if (!task && context && thread->item) {
		/* What an executor runs in a context of its own is what it was given to do. */
		task = item_at_hand(thread);
		if (task && task->job)
			context = thread->item;
		else
			task = NULL;
	}
	/* What uvloop writes has been given to the connection before. */
	if (is_client(c) && !c->handed.flags)
		c->asked_name = 0;
	has_first = task && (task->starter || is_item(context));
	if (!task || !(task->request.flags & CAUSE_TAKEN)) {
		/* What the thread has read was another one's. */
		if (thread->runs_greenlets)
			request->flags = CAUSE_TASK;
		return 0;
	}
	if (task->has_ended) {
		/* It goes on, for whom? */
		if (is_client(c))
			python_strays(task);
		return 0;
	}
	if (!is_client(c) && serves_other(&task->request, c))
		task->serves_others = 1;
	name = has_first ? python_name(task->first, task->first_born) :
			   python_name(context, task->born);
	if (task->serves_others) {
		python_strays(task);
		request->flags = CAUSE_TASK | name;
		return 0;
	}
	if (is_client(c)) {
		thread->has_called = 1;
		task->writes++;
		task->connects = 0;
		python_calls(thread, task, context);
	}
	flags = CAUSE_TASK | CAUSE_TAKEN | name;
	if (task->job && is_client(c)) {
		flags = job_calls(task);
		if (!flags)
			return 0;
	}
	if (task->starter)
		flags |= CAUSE_INHERITED;
	first = python_first(task);
	/* Of those that are to be waited for, only the one that writes may still call. */
	if (!first || first->strayed || first->telling || first->calling > (task->starter ? task->calls : 0) ||
	    python_is_left(task, context))
		flags |= CAUSE_STRAYED;
	request->slot = task->request.slot;
	request->generation = task->request.generation;
	request->seq = task->request.seq;
	request->flags = flags;
	if (is_client(c)) {
		c->asked_name = name >> CAUSE_START_SHIFT;
		c->asked_slot = request->slot;
		c->asked_seq = request->seq;
	}
	return python_name(context, task->born);
}

/* Of those that are at the request, one may have done something for another one. */
static __noinline void python_tells(struct event_cause *request, __u16 name)
{
	struct work_event *e;

	e = CONTROL_RECORD(work_event, EVENT_WORK, bpf_ktime_get_boot_ns());
	if (!e)
		return;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->slot = request->slot;
	e->generation = is_over(request) ? 0 : request->generation;
	e->name = name;
	e->outcome = WORK_CROSSED;
	control_submit(e);
}

/* Of the future's setter, if it is still at the request that the setter was at. */
static __noinline struct routine *future_first(struct future *future)
{
	return python_same(future->first, future->first_born, &future->request);
}

/* An item, which has called, has a loop call something: for whom, is seen when that sets
 * somebody to work. */
static __noinline void item_tells(struct routine *item)
{
	struct routine *first = item->calls ? python_first(item) : NULL;

	if (first)
		__sync_fetch_and_add(&first->telling, 1);
}

/* It has set somebody to work who is at the item's request: for whom else would it go on? */
static __noinline void item_has_told(struct future *future, struct routine *item)
{
	struct routine *first = future_first(future);

	if (first && first->telling)
		__sync_fetch_and_add(&first->telling, -1);
	if (item)
		item->has_ended = 1;
}

/* The thread wakes up a loop. */
static __noinline void python_signals(struct thread_state *thread)
{
	struct routine *task = routine_find(python_context(thread));

	if (task && python_is_apart(task))
		python_strays(task);
}

/* In the place of a callable: one of the program's, of which no more is known. */
#define PY_CALLED_UNKNOWN 1

/* What a context is run with: a callable and its arguments, by number; 0: not known. */
struct python_call {
	__u64 called[2];
	__u64 count;
};

#endif

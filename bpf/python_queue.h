/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Queues of Python (collections.deque, which queue.Queue rests on, and queue.SimpleQueue):
 * what one puts in is an object, and who takes out the same one goes on with it.
 *  - A thread that works on items (waitress): who put the item in had just read a request.
 *    From there to the next item the thread is at that request; what it calls meanwhile
 *    is the request's if it also gives the response meanwhile (src/traces/claims.ts), for
 *    each item has a name of its own.
 *  - A thread that does what a task has an executor do: the item is like a copy of the
 *    task's context (python.h). It has ended when it has set somebody at the same request
 *    to work, or the thread looks for the next item.
 *  - A task that takes what was put in when the bytes of a request were read (aiohttp,
 *    where the next request is there before the last one's task has ended), or looks for
 *    the end of a line in a buffer to which they were added, or takes bytes out of it
 *    (asyncio's streams, Tornado).
 * Pools of connections are queues, too: a thread at a request that has not been answered
 * takes work from the queue only that it had that from.
 */
#ifndef UNDERSPAN_PYTHON_QUEUE_H
#define UNDERSPAN_PYTHON_QUEUE_H

/* Counted for whatever process: each pays for the probe. */
static __always_inline struct thread_state *queue_thread(void)
{
	count_stat(STAT_QUEUE_ITEMS, 1);
	return thread_selected(bpf_get_current_pid_tgid());
}

static __always_inline __u64 item_of(__u64 object)
{
	return object | 1;
}

/* What a thread is at that has entered no context, if that is certain and not over. */
static __noinline struct event_cause *request_at_hand(struct thread_state *thread)
{
	struct event_cause *request = &thread->request;
	struct routine *item = item_at_hand(thread);

	if (item)
		return item->has_ended || is_over(&item->request) ? NULL : &item->request;
	if (request->flags & (CAUSE_WAITED | CAUSE_WOKEN))
		return NULL;
	/* A loop that has taken from somebody else since. */
	if (request->flags & CAUSE_LOOPS && !is_same_take(request, &thread->cause))
		return NULL;
	return is_over(request) ? NULL : request;
}

/* PyObject.ob_type; PyTypeObject.tp_basicsize, tp_flags, of which three tell numbers and
 * texts. */
#define PY_OBJECT_TYPE 8
#define PY_TYPE_BASIC_SIZE 32
#define PY_TYPE_FLAGS 168
#define PY_TYPES_OF_VALUES (1 << 24 | 1 << 27 | 1 << 28)
#define PY_OBJECT_BYTES 16
/* Of a class of Python: from 3.12 on its objects can be as small as mere ones. */
#define PY_TYPE_OF_HEAP (1 << 9)

/* Handle, uvloop.loop.Handle: how the names of these types begin, in memory's order. */
#define HANDLE_NAME 0x646e6148
#define UV_LOOP_NAME 0x6f6c7675

/* None, a number, a text, a mere object: the same one may be put in for many. */
static __noinline bool is_value(__u64 object)
{
	__u64 type = 0, bytes = 0, flags = 0;

	return bpf_probe_read_user(&type, sizeof(type), (void *)(object + PY_OBJECT_TYPE)) ||
	       bpf_probe_read_user(&bytes, sizeof(bytes), (void *)(type + PY_TYPE_BASIC_SIZE)) ||
	       bpf_probe_read_user(&flags, sizeof(flags), (void *)(type + PY_TYPE_FLAGS)) ||
	       (bytes <= PY_OBJECT_BYTES && !(flags & PY_TYPE_OF_HEAP)) ||
	       flags & PY_TYPES_OF_VALUES;
}

/* A callback that a loop is to call: its context tells more (python.h). */
static __noinline bool is_callback(__u64 object)
{
	char name[UV_NAME_MAX] = {};
	__u64 type = 0;

	if (bpf_probe_read_user(&type, sizeof(type), (void *)(object + PY_OBJECT_TYPE)) ||
	    !py_type_name(type, name))
		return false;
	return *(__u32 *)name == HANDLE_NAME || *(__u32 *)name == UV_LOOP_NAME;
}

/* _WorkItem, of concurrent.futures.thread: how the name of its type begins and goes on. */
#define WORK_NAME 0x496b726f575fULL
#define WORK_NAME_MASK 0xffffffffffffULL

static __noinline bool is_work_item(__u64 object)
{
	char name[UV_NAME_MAX] = {};
	__u64 type = 0;

	return !bpf_probe_read_user(&type, sizeof(type), (void *)(object + PY_OBJECT_TYPE)) &&
	       py_type_name(type, name) && (*(__u64 *)name & WORK_NAME_MASK) == WORK_NAME;
}

/* What a thread at a request gives to an executor, maybe while it does such work itself. */
static __noinline void work_put(struct thread_state *thread, struct routine *item)
{
	struct routine *outer = item_at_hand(thread);

	item->is_work = 1;
	if (!outer || !outer->job)
		return;
	item->outer = outer->job;
	outer = job_of_item(outer);
	if (outer && !outer->outer)
		item->outer_born = outer->born;
	else
		item->is_work = 0;
}

/* The thread puts the object into a queue; one of an executor's, with `hands_over`, or one that
 * may be a pool as well. */
static __noinline void item_put(struct thread_state *thread, __u64 object, bool hands_over)
{
	__u64 context = python_context(thread), key = item_of(object);
	struct routine *putter = routine_find(context), *item = routine_find(key);
	struct event_cause *request =
		putter && (thread->has_taken || hands_over) ? &putter->request : NULL;
	/* Nobody has taken it out since it was put in before: which of the two is it then? */
	bool is_twice = item && !item->runner;

	if (thread->runs_greenlets)
		return;
	if (!context)
		request = request_at_hand(thread);
	if (!request || !(request->flags & CAUSE_TAKEN) || is_value(object) ||
	    is_callback(object)) {
		routine_forget(key);
		return;
	}
	item = routine_renew(key);
	if (!item || is_twice)
		return;
	item->request.slot = request->slot;
	item->request.generation = request->generation;
	item->request.seq = request->seq;
	item->request.flags = CAUSE_TAKEN;
	item->maker = python_thread();
	python_is_born(item);
	if (thread->has_taken) {
		item->is_read = context != 0;
	} else if (putter) {
		item->is_copy = 1;
		python_starts(item, context, putter);
	} else if (hands_over && is_work_item(object)) {
		work_put(thread, item);
	}
}

/* A task takes the item, on the thread that put it in: one that has been at an earlier
 * request of the same connection. */
static __noinline void item_read(__u64 context, struct routine *item)
{
	struct routine *task = routine_find(context);

	if (item->is_read && item->maker == python_thread() && task &&
	    task->request.slot == item->request.slot &&
	    task->request.generation == item->request.generation)
		python_arrives(context, &item->request);
}

/* The thread adds bytes to a buffer: those of a request that it has just read? */
static __noinline void buffer_filled(struct thread_state *thread, __u64 object)
{
	__u64 context = python_context(thread), key = item_of(object);
	struct routine *reader = routine_find(context), *buffer;

	if (!reader || !thread->has_taken || !(reader->request.flags & CAUSE_TAKEN)) {
		routine_forget(key);
		return;
	}
	buffer = routine_renew(key);
	if (!buffer)
		return;
	buffer->request = reader->request;
	buffer->request.flags = CAUSE_TAKEN;
	buffer->maker = python_thread();
	buffer->is_read = 1;
}

/* A task looks into a buffer. One that is at nothing so far begins with what is there: bytes that were read
 * on its connection before it waited for any. */
static __noinline void buffer_read(struct thread_state *thread, __u64 object)
{
	__u64 context = python_context(thread), key = item_of(object);
	struct routine *buffer = routine_find(key), *task;

	if (!context || !buffer)
		return;
	task = routine_find(context);
	if ((!task || !(task->request.flags & CAUSE_TAKEN)) && buffer->maker == python_thread() &&
	    !is_over(&buffer->request))
		python_arrives(context, &buffer->request);
	else
		item_read(context, buffer);
	routine_forget(key);
}

/* The thread is done with the item that it had. */
static __always_inline void item_leaves(struct thread_state *thread)
{
	if (thread->item && item_at_hand(thread))
		routine_forget(thread->item);
	thread->item = 0;
}

/* The thread works on the item from now on. */
static __noinline void item_begins(struct thread_state *thread, __u64 key, struct routine *item)
{
	thread->item = key;
	item->runner = python_thread();
	if (!item->starter)
		item->first = bpf_ktime_get_boot_ns();
}

/* The thread looks for the next item, whether or not there is one. */
static __always_inline void item_wanted(struct thread_state *thread, __u64 queue)
{
	if (queue == thread->item_queue)
		item_leaves(thread);
}

/* The thread has taken the object out of a queue, 0: there was none. */
static __noinline void item_got(struct thread_state *thread, __u64 object, __u64 queue)
{
	__u64 context = python_context(thread), key = item_of(object);
	struct routine *item = object ? routine_find(key) : NULL;
	bool is_next = thread->item && queue == thread->item_queue;

	if (thread->runs_greenlets)
		return;
	if (context && item)
		item_read(context, item);
	if (context || thread->cause.flags & CAUSE_LOOPS ||
	    (!is_next && request_at_hand(thread))) {
		if (item && !item->runner)
			routine_forget(key);
		return;
	}
	item_leaves(thread);
	if (item && item->request.flags & CAUSE_TAKEN) {
		item_begins(thread, key, item);
		thread->item_queue = queue;
	} else if (item) {
		routine_forget(key);
	}
}

#endif

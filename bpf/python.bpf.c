/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where Python runs contexts, copies and frees them, and where asyncio sets futures
 * (src/discovery/python-tasks.ts); see python.h. The probes sit on functions that
 * programs without an event loop hardly call.
 */

/* Who was woken by a request's bytes has passed them on at once (a timeout around a read) to
 * one that is at nothing else. */
static __always_inline bool python_is_free(struct future *future, __u64 context)
{
	struct routine *task = routine_find(context);

	return future->is_relayed && (!task || is_over(&task->request));
}

/* A task has set a future, which sets another one to work: the one that started it, then
 * what it has called so far is what that has waited for (Starlette's middleware). */
static __noinline void python_reports(struct future *future, __u64 context)
{
	struct routine *setter = python_same(future->setter, future->setter_born, &future->request);
	struct routine *task = routine_find(context), *first;
	bool by_item = is_item(future->setter), is_same;

	is_same = task && task->request.flags & CAUSE_TAKEN &&
		  is_same_take(&future->request, &task->request);
	if (by_item && is_same) {
		item_has_told(future, setter);
	} else if (by_item) {
		first = future_first(future);
		if (first)
			first->strayed = 1;
		if (task && task->request.flags & CAUSE_TAKEN)
			python_strays(task);
	} else if (is_same && setter && setter->starter == context &&
		   setter->starter_born == task->born && setter->writes == future->writes &&
		   !setter->calling) {
		python_ends(setter, future->setter);
	}
}

/* A future (FutureObj of _asynciomodule.c): its first callback, with the context that it will
 * run in, and a list of pairs like that, or NULL. */
struct py_future {
	__u64 references, type, loop;
	__u64 callback, context;
	__u64 callbacks;
	__u64 outcome[3];
	struct {
		__u32 low, high;
	} state[4];
};

/* fut_state, which is the low half of one of four words, from 3.8 to 3.13; what is in the others at rest,
 * a pointer or 0, is neither of these. */
#define FUTURE_CANCELLED 1
#define FUTURE_FINISHED 2
#define FUTURE_STATES 4

/* PyListObject.ob_size, ob_item. */
#define PY_LIST_SIZE 16
#define FUTURE_CALLBACKS_MAX 4

/* How the name of what gather() returns begins, in memory's order: it may be awaited later. */
#define NAME_GATHERIN 0x697265687461475fULL

/* What a callback does, the task does that it was made by; and who has called for the request before,
 * maybe for that other one, is known by who was first at it. */
static __noinline void python_serves_others(struct routine *setter, __u64 context)
{
	struct routine *starter = setter->is_named ? NULL : python_starter(setter);
	struct routine *first = python_first(setter);

	setter->serves_others = 1;
	if (starter)
		starter->serves_others = 1;
	if (!first)
		first = setter;
	if (first->has_crossed)
		return;
	first->has_crossed = 1;
	python_tells(&setter->request, first_name(setter, context));
}

/* The future sets one to work that waits in this context, by this callback. If that is at another
 * request: who serves whom? Whose turn it is at a client's connections has got nothing
 * else. Whoever waits for anything but its turn may have got what was done for it, by one
 * that answers for itself, too; unless it was answered before. */
static __noinline void python_crosses(struct future *future, __u64 context, __u64 callback)
{
	struct routine *setter = routine_find(future->setter), *task = routine_find(context), *first;
	bool has_answered;
	__u32 waits;

	if (!task || !(task->request.flags & CAUSE_TAKEN) ||
	    is_same_take(&future->request, &task->request))
		return;
	has_answered = is_over(&task->request);
	if (future->is_relayed && has_answered)
		return;
	waits = python_waits(callback);
	if (waits == WAIT_OF_POOL)
		return;
	first = future_first(future);
	if (first)
		first->strayed = 1;
	python_strays(task);
	if (setter && waits == WAIT_UNKNOWN && !has_answered)
		python_serves_others(setter, future->setter);
}

static __always_inline bool future_is_done(struct py_future *set)
{
	for (int i = 0; i < FUTURE_STATES; i++)
		if (set->state[i].low == FUTURE_CANCELLED || set->state[i].low == FUTURE_FINISHED)
			return true;
	return false;
}

/* Nobody waits for the future, so far, or too many do: it may be for whoever. Those that
 * asyncio sets at once, as it has connected, are its own; so are those of its own callbacks (a
 * connection is closed). */
static __noinline void python_keeps(struct thread_state *thread, struct future *future, __u64 type)
{
	struct routine *setter = routine_find(future->setter);
	__u64 name = 0, text = 0;

	if (!setter || (setter->is_copy && !setter->is_named && is_own_callback(thread->called)))
		return;
	if (setter->connects) {
		setter->connects--;
		return;
	}
	if (future->is_relayed ||
	    bpf_probe_read_user(&name, sizeof(name), (void *)(type + PY_TYPE_NAME)) ||
	    bpf_probe_read_user(&text, sizeof(text), (void *)name) || text == NAME_GATHERIN)
		return;
	python_strays(setter);
	python_serves_others(setter, future->setter);
}

/* A task at a request sets the future: whom does that set to work? */
static __noinline void python_sets(struct thread_state *thread, struct future *future,
				   __u64 address)
{
	struct py_future set = {};
	__u64 list[2] = {}, pair[2] = {}, tuple = 0;

	if (bpf_probe_read_user(&set, sizeof(set), (void *)address))
		return;
	if (set.callbacks)
		bpf_probe_read_user(list, sizeof(list), (void *)(set.callbacks + PY_LIST_SIZE));
	if (list[0] > FUTURE_CALLBACKS_MAX || (!set.callback && !list[0])) {
		if (!future_is_done(&set))
			python_keeps(thread, future, set.type);
		return;
	}
	if (set.callback)
		python_crosses(future, set.context, set.callback);
	for (__u32 i = 0; i < FUTURE_CALLBACKS_MAX; i++) {
		if (list[0] <= i ||
		    bpf_probe_read_user(&tuple, sizeof(tuple), (void *)(list[1] + i * 8)) ||
		    bpf_probe_read_user(pair, sizeof(pair), (void *)(tuple + PY_TUPLE_ITEMS)))
			return;
		python_crosses(future, pair[1], pair[0]);
	}
}

/* The future that a callback is called with has been set, and has set the context to
 * work; or it is a task, which has ended. */
static __noinline void python_wakes(struct thread_state *thread, __u64 context, __u64 address)
{
	struct routine_key key = routine_key_of(address);
	struct future *future = bpf_map_lookup_elem(&futures, &key);
	struct routine *task;

	if (!future)
		return;
	if (future->context) {
		task = routine_find(future->context);
		if (task)
			python_ends(task, future->context);
	} else if (future->setter && !python_is_free(future, context)) {
		if (future->turn_ns == thread->waited_ns ||
		    future->turn_ns == thread->last_waited_ns)
			python_reports(future, context);
	} else if (future->turn_ns ==
		   (thread->runs_handles ? thread->waited_ns : thread->last_waited_ns)) {
		/* asyncio calls callbacks in the turn after; uvloop before it waits again. */
		task = routine_find(context);
		if (task && task->request.slot != future->request.slot && !is_over(&task->request)) {
			/* It waits while it is at another one: for what that one's handler sets? */
			python_serves_others(task, context);
			bpf_map_delete_elem(&futures, &key);
			return;
		}
		python_arrives(context, &future->request);
		thread->has_arrived = 1;
	}
	bpf_map_delete_elem(&futures, &key);
}

/* TaskStepMethWrapper.sw_task */
#define PY_STEP_TASK 16

/* A context is run for the first time by the first step of its task: an object that
 * names the task behind its own two words. Other callbacks have no task. */
static __noinline void python_names(struct routine *task, __u64 context, __u64 step)
{
	struct future future = { .context = context };
	struct routine_key key;
	__u64 address = 0;

	if (bpf_probe_read_user(&address, sizeof(address), (void *)(step + PY_STEP_TASK)) ||
	    !is_task(address))
		return;
	task->is_named = 1;
	key = routine_key_of(address);
	if (bpf_map_update_elem(&futures, &key, &future, BPF_ANY))
		count_loss(LOSS_THREADS_FULL);
}

/* The thread goes on in this context; with what it has just read, if that is why. */
static __noinline void python_enters(struct thread_state *thread, __u64 context, bool is_callback)
{
	__u32 unclaimed = thread->unclaimed;
	struct routine *protocol;

	if (thread->context != context) {
		thread->outer_context = thread->context;
		thread->context = context;
	}
	thread->has_taken = thread->has_called = thread->has_arrived = thread->has_answer = 0;
	thread->has_opened = 0;
	thread->unclaimed = UNCLAIMED_NONE;
	if (!unclaimed || is_callback || !thread->runs_handles)
		return;
	python_gets(thread, context, unclaimed);
	protocol = routine_find(context);
	if (protocol && thread->has_taken)
		protocol->is_read = 1;
}

/* A task of a connection that has just been made: a request may have been read there already, for which it will not wait. */
static __noinline void python_begins(struct routine *task, __u64 context, __u64 step)
{
	struct connection *c = bpf_map_lookup_elem(&connections, &task->request.slot);
	struct event_cause request = task->request;
	__u64 address = 0;

	task->opens = 0;
	if (!step || bpf_probe_read_user(&address, sizeof(address), (void *)(step + PY_STEP_TASK)) ||
	    !is_task(address))
		return;
	if (!c || c->generation != request.generation || c->direction != DIRECTION_INGRESS ||
	    !c->run.calls)
		return;
	request.seq = c->run.end_seq;
	python_arrives(context, &request);
}

static __noinline void python_runs(struct thread_state *thread, __u64 context,
				   struct python_call *call)
{
	struct routine *task;

	thread->called = call->called[0];
	if (call->count == 2 && call->called[1])
		python_wakes(thread, context, call->called[1]);
	task = routine_find(context);
	if (!task)
		return;
	if (task->is_read && !thread->has_taken) {
		/* Of uvloop's protocols, all of a server's in one: what was read before is another's. */
		routine_forget(context);
		return;
	}
	task->runner = python_thread();
	if (task->opens) {
		python_begins(task, context, call->called[0]);
		return;
	}
	if (python_is_apart(task))
		return;
	if (call->count == 1 && task->starter && !task->is_named && call->called[0])
		python_names(task, context, call->called[0]);
	/* It goes on although a task that it has started still calls: for whom? */
	/* By itself, as it had yielded before that one called: it has got nothing from it yet. */
	if (call->count == 1 && (task->called_ns == thread->waited_ns ||
				 task->called_ns == thread->last_waited_ns))
		return;
	if (task->calling || python_is_left(task, context))
		python_strays(task);
}

/* context_run(context, { callable, arguments ... }, count, names) */
SEC("uprobe")
int python_run(struct pt_regs *ctx)
{
	struct thread_state *thread = task_thread();
	__u64 context = ARGUMENT1(ctx), called = ARGUMENT2(ctx), count = ARGUMENT3(ctx);
	struct python_call call = { .count = count };

	if (!thread || thread->runs_greenlets)
		return 0;
	python_enters(thread, context, false);
	/* Sizes that 5.10 sees are constant. */
	if (count == 2)
		bpf_probe_read_user(call.called, sizeof(call.called), (void *)called);
	else
		bpf_probe_read_user(call.called, sizeof(call.called[0]), (void *)called);
	python_runs(thread, context, &call);
	return 0;
}

/* PyContext_CopyCurrent() returns the context of something new. */
SEC("uprobe")
int python_copied(struct pt_regs *ctx)
{
	struct thread_state *thread = task_thread();
	struct routine *starter, *made;
	__u64 context;

	if (!thread || thread->runs_greenlets || !(thread->context || thread->item))
		return 0;
	context = python_at(thread);
	starter = routine_find(context);
	if (!starter && thread->has_opened) {
		made = routine_renew(RESULT(ctx));
		if (!made)
			return 0;
		made->request.slot = thread->opened.slot;
		made->request.generation = thread->opened.generation;
		made->opens = 1;
		return 0;
	}
	if (!starter) {
		routine_forget(RESULT(ctx));
		return 0;
	}
	if (is_item(context))
		item_tells(starter);
	else if (python_is_apart(starter))
		python_strays(starter);
	made = routine_renew(RESULT(ctx));
	if (!made)
		return 0;
	made->request = starter->request;
	python_is_born(made);
	made->is_copy = 1;
	made->maker = python_thread();
	/* What a reader's callback makes right after it has read is at the request itself. */
	if (!thread->has_taken) {
		python_starts(made, context, starter);
	}
	return 0;
}

/* A context is freed: another one may lie there next. */
SEC("uprobe")
int python_freed(struct pt_regs *ctx)
{
	struct thread_state *thread = task_thread();
	__u64 context = ARGUMENT1(ctx);

	if (!thread || thread->runs_greenlets || !thread->context)
		return 0;
	routine_forget(context);
	if (thread->context == context)
		thread->context = PY_CONTEXT_GONE;
	if (thread->outer_context == context)
		thread->outer_context = PY_CONTEXT_GONE;
	return 0;
}

/* Whose was the call of which the response was taken right now? */
static __noinline void answer_strays(struct connection *c)
{
	struct event_cause asked = { .flags = CAUSE_TAKEN };
	struct connection *from = bpf_map_lookup_elem(&connections, &c->asked_slot);

	asked.slot = c->asked_slot;
	asked.seq = c->asked_seq;
	asked.generation = from ? from->generation : 0;
	python_tells(&asked, c->asked_name);
	c->asked_name = 0;
}

/* It sets one to work that waits in this context, for more than a turn: is that at the request for which was asked? */
static __always_inline void answer_comes(struct connection *c, __u64 context, __u64 callback)
{
	struct routine *task = routine_find(context);

	if (task && task->request.flags & CAUSE_TAKEN && task->request.slot == c->asked_slot &&
	    task->request.seq == c->asked_seq)
		return;
	if (python_waits(callback) == WAIT_UNKNOWN)
		answer_strays(c);
}

/* A future is set by what has just taken a response. */
static __noinline void answer_sets(struct thread_state *thread, __u64 address)
{
	struct connection *c = bpf_map_lookup_elem(&connections, &thread->cause.slot);
	struct py_future set = {};
	__u64 list[2] = {}, pair[2] = {}, tuple = 0;

	if (!c || c->generation != thread->cause.generation || !c->asked_name ||
	    bpf_probe_read_user(&set, sizeof(set), (void *)address))
		return;
	if (set.callback) {
		answer_comes(c, set.context, set.callback);
		return;
	}
	if (set.callbacks)
		bpf_probe_read_user(list, sizeof(list), (void *)(set.callbacks + PY_LIST_SIZE));
	if (list[0] && !bpf_probe_read_user(&tuple, sizeof(tuple), (void *)list[1]) &&
	    !bpf_probe_read_user(pair, sizeof(pair), (void *)(tuple + PY_TUPLE_ITEMS)))
		answer_comes(c, pair[1], pair[0]);
	else if (!future_is_done(&set))
		answer_strays(c);
}

/* Future.set_result(future, ...), Future.set_exception(future, ...) */
SEC("uprobe")
int python_future_set(struct pt_regs *ctx)
{
	struct thread_state *thread = task_thread();
	struct routine_key key = routine_key_of(ARGUMENT1(ctx));
	struct future future = {};
	struct routine *setter;
	__u64 context;

	if (!thread || thread->runs_greenlets || !thread->context)
		return 0;
	if (thread->has_answer)
		answer_sets(thread, ARGUMENT1(ctx));
	context = python_context(thread);
	setter = routine_find(context);
	if (!setter || !(setter->request.flags & CAUSE_TAKEN)) {
		bpf_map_delete_elem(&futures, &key);
		return 0;
	}
	future.request = setter->request;
	if (!thread->has_taken) {
		bool by_item = is_item(setter->starter);

		future.first = setter->starter ? setter->first : context;
		future.first_born = setter->starter ? setter->first_born : setter->born;
		/* What an item has a loop call is gone before anybody is set to work. */
		future.setter = by_item ? setter->starter : context;
		future.setter_born = by_item ? setter->starter_born : setter->born;
		future.writes = setter->writes;
		future.is_relayed = thread->has_arrived;
		if (!by_item)
			python_sets(thread, &future, ARGUMENT1(ctx));
	}
	future.turn_ns = thread->waited_ns;
	if (bpf_map_update_elem(&futures, &key, &future, BPF_ANY))
		count_loss(LOSS_THREADS_FULL);
	return 0;
}

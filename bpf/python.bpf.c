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
		python_arrives(context, &future->request);
		thread->has_arrived = 1;
	}
	bpf_map_delete_elem(&futures, &key);
}

/* A context is run for the first time by the first step of its task: an object that
 * names the task behind its own two words. */
static __noinline void python_names(struct routine *task, __u64 context, __u64 step)
{
	struct future future = { .context = context };
	struct routine_key key;
	__u64 address = 0;

	task->is_named = 1;
	if (bpf_probe_read_user(&address, sizeof(address), (void *)(step + 16)) || !address)
		return;
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
	thread->has_taken = thread->has_called = thread->has_arrived = 0;
	thread->unclaimed = UNCLAIMED_NONE;
	if (!unclaimed || is_callback || !thread->runs_handles)
		return;
	python_gets(thread, context, unclaimed);
	protocol = routine_find(context);
	if (protocol && thread->has_taken)
		protocol->is_read = 1;
}

static __noinline void python_runs(struct thread_state *thread, __u64 context,
				   struct python_call *call)
{
	struct routine *task;

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
	if (count == 1)
		bpf_probe_read_user(call.called, sizeof(call.called[0]), (void *)called);
	else if (count == 2)
		bpf_probe_read_user(call.called, sizeof(call.called), (void *)called);
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
	}
	future.turn_ns = thread->waited_ns;
	if (bpf_map_update_elem(&futures, &key, &future, BPF_ANY))
		count_loss(LOSS_THREADS_FULL);
	return 0;
}

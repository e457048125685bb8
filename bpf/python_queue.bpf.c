/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where Python's queues are filled and emptied (src/discovery/python-queues.ts); see
 * python_queue.h. What is known of deques and buffers is attached only once a process hands
 * requests over: programs use them for much else.
 */

/* _queue.SimpleQueue.put(queue, { item ... }, ...) */
SEC("uprobe")
int python_queue_put(struct pt_regs *ctx)
{
	struct thread_state *thread = queue_thread();
	__u64 object = 0;

	if (thread && !bpf_probe_read_user(&object, sizeof(object), (void *)ARGUMENT2(ctx)) &&
	    object)
		item_put(thread, object, true);
	return 0;
}

/* _queue.SimpleQueue.get(queue, ...) */
SEC("uprobe")
int python_queue_get(struct pt_regs *ctx)
{
	struct thread_state *thread = queue_thread();

	if (!thread)
		return 0;
	thread->queue = ARGUMENT1(ctx);
	item_wanted(thread, thread->queue);
	return 0;
}

/* It returns what it has waited for; 0: nothing was there. */
SEC("uprobe")
int python_queue_got(struct pt_regs *ctx)
{
	struct thread_state *thread = queue_thread();

	if (thread && thread->queue)
		item_got(thread, RESULT(ctx), thread->queue);
	return 0;
}

/* deque.append(deque, item) */
SEC("uprobe")
int python_deque_append(struct pt_regs *ctx)
{
	struct thread_state *thread = queue_thread();

	if (thread && ARGUMENT2(ctx))
		item_put(thread, ARGUMENT2(ctx), false);
	return 0;
}

/* bytearray.extend(buffer, bytes), buffer += bytes */
SEC("uprobe")
int python_buffer_extend(struct pt_regs *ctx)
{
	struct thread_state *thread = queue_thread();

	if (thread && thread->context)
		buffer_filled(thread, ARGUMENT1(ctx));
	return 0;
}

/* bytearray.find(buffer, ...), del buffer[...] */
SEC("uprobe")
int python_buffer_find(struct pt_regs *ctx)
{
	struct thread_state *thread = queue_thread();

	if (thread && thread->context)
		buffer_read(thread, ARGUMENT1(ctx));
	return 0;
}

/* dequeobject: two words of an object, its size, the blocks at both ends, the places of
 * the first and the last item in them. */
struct py_deque {
	__u64 references, type, size;
	__u64 left, right;
	__u64 left_index, right_index;
};

#define PY_DEQUE_BLOCK_ITEMS 64
/* A block: a link, then its items. */
#define PY_DEQUE_ITEM(block, index) ((block) + 8 + (index) * 8)

/* deque.popleft(deque): what lies first in it now. */
SEC("uprobe")
int python_deque_popleft(struct pt_regs *ctx)
{
	struct thread_state *thread = queue_thread();
	struct py_deque deque = {};
	__u64 object = 0;

	if (!thread || bpf_probe_read_user(&deque, sizeof(deque), (void *)ARGUMENT1(ctx)) ||
	    !deque.size || deque.left_index >= PY_DEQUE_BLOCK_ITEMS ||
	    bpf_probe_read_user(&object, sizeof(object),
				(void *)PY_DEQUE_ITEM(deque.left, deque.left_index)))
		return 0;
	item_got(thread, object, ARGUMENT1(ctx));
	return 0;
}

/* deque.remove(deque, object) */
SEC("uprobe")
int python_deque_remove(struct pt_regs *ctx)
{
	struct thread_state *thread = queue_thread();
	struct routine *waiter = thread ? routine_find(item_of(ARGUMENT2(ctx))) : NULL;

	if (!waiter)
		return 0;
	if (thread->item)
		waiter_woken(thread, waiter);
	routine_forget(item_of(ARGUMENT2(ctx)));
	return 0;
}

/* RLock.acquire(lock, ...), RLock.__enter__(lock), RLock._acquire_restore(lock, ...) */
SEC("uprobe")
int python_lock_taken(struct pt_regs *ctx)
{
	struct thread_state *thread = queue_thread();

	if (thread && !thread->runs_greenlets)
		lock_taken(thread, ARGUMENT1(ctx));
	return 0;
}

/* An RLock is freed: another one may lie there next. */
SEC("uprobe")
int python_lock_freed(struct pt_regs *ctx)
{
	if (queue_thread())
		routine_forget(job_of_lock(ARGUMENT1(ctx)));
	return 0;
}

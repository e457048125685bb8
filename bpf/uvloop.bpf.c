/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where uvloop enters contexts, and where tasks give it what they write; see uvloop.h
 * and python.h. Found by src/discovery/python-tasks.ts.
 */

#if defined(__TARGET_ARCH_x86)
#define KEPT_REGISTERS(ctx) { (ctx)->bx, (ctx)->bp, (ctx)->r12, (ctx)->r13, (ctx)->r14, (ctx)->r15 }
#else
#define KEPT_REGISTERS(ctx)                                                                   \
	{ (ctx)->regs[19], (ctx)->regs[20], (ctx)->regs[21], (ctx)->regs[22], (ctx)->regs[23], \
	  (ctx)->regs[24] }
#endif
#define KEPT_COUNT 6

/* Of a transport, TCPTransport or UnixTransport. */
static __noinline struct connection *uv_connection(__u64 self, __u32 *slot)
{
	__u64 type = 0, stream = 0;
	struct sock *sk;
	__u32 fd = 0;
	char letter;

	if (bpf_probe_read_user(&type, sizeof(type), (void *)(self + PY_OBJECT_TYPE)))
		return NULL;
	letter = uv_type_letter(type);
	if ((letter != 'T' && letter != 'U') ||
	    bpf_probe_read_user(&stream, sizeof(stream), (void *)(self + UV_STREAM_HANDLE)) ||
	    bpf_probe_read_user(&fd, sizeof(fd), (void *)(stream + UV_STREAM_FD)))
		return NULL;
	sk = sock_at(fd);
	return sk ? connection_find((__u64)sk, slot) : NULL;
}

/* A transport calls its protocol: that it has been made, most often. A task that this makes is the connection's. */
static __noinline void uv_opens(struct thread_state *thread, __u64 transport)
{
	struct connection *c;
	__u32 slot = 0;

	c = uv_connection(transport, &slot);
	if (!c || is_client(c))
		return;
	thread->opened.slot = slot;
	thread->opened.generation = c->generation;
	thread->has_opened = 1;
}

/* PyContext_Enter(context) */
SEC("uprobe")
int python_entered(struct pt_regs *ctx)
{
	struct thread_state *thread = task_thread();
	__u64 kept[KEPT_COUNT] = KEPT_REGISTERS(ctx), context = ARGUMENT1(ctx);
	struct python_call call = {};
	struct uv_handle handle = {};
	char letter = 0;

	if (!thread || thread->runs_greenlets)
		return 0;
	for (int i = 0; i < KEPT_COUNT && !letter; i++)
		letter = uv_handle_at(&handle, kept[i], context);
	if (letter)
		thread->runs_handles = 1;
	python_enters(thread, context, letter);
	if (letter == 'H' && handle.callback_type != UV_CALLBACK_OF_PYTHON)
		uv_opens(thread, handle.callable);
	else if (letter == 'H')
		uv_arguments(&handle, &call);
	else if (letter)
		call.called[0] = PY_CALLED_UNKNOWN;
	python_runs(thread, context, &call);
	return 0;
}

/* UVStream.write(self, ...), UVStream.writelines(self, ...) */
SEC("uprobe")
int uvloop_write(struct pt_regs *ctx)
{
	struct thread_state *thread = task_thread();
	struct connection *c;
	__u32 slot;

	if (!thread || !thread->context)
		return 0;
	c = uv_connection(ARGUMENT1(ctx), &slot);
	if (!c || !is_selected(c, thread))
		return 0;
	c->handed.flags = 0;
	c->handed_name = python_writes(thread, c, &c->handed);
	return 0;
}

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
	if (letter == 'H')
		uv_arguments(&handle, &call);
	python_runs(thread, context, &call);
	return 0;
}

/* UVStream.write(self, ...), UVStream.writelines(self, ...) */
SEC("uprobe")
int uvloop_write(struct pt_regs *ctx)
{
	struct thread_state *thread = task_thread();
	__u64 self = ARGUMENT1(ctx), type = 0, stream = 0;
	__u32 slot, fd = 0;
	struct connection *c;
	struct sock *sk;
	char letter;

	if (!thread || !thread->context ||
	    bpf_probe_read_user(&type, sizeof(type), (void *)(self + 8)))
		return 0;
	letter = uv_type_letter(type);
	if ((letter != 'T' && letter != 'U') ||
	    bpf_probe_read_user(&stream, sizeof(stream), (void *)(self + UV_STREAM_HANDLE)) ||
	    bpf_probe_read_user(&fd, sizeof(fd), (void *)(stream + UV_STREAM_FD)))
		return 0;
	sk = sock_at(fd);
	c = sk ? connection_find((__u64)sk, &slot) : NULL;
	if (!c || !is_selected(c, thread))
		return 0;
	c->handed.flags = 0;
	c->handed_name = python_writes(thread, c, &c->handed);
	return 0;
}

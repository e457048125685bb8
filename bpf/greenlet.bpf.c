/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Greenlets (gevent, eventlet): threads of Python that one thread of the kernel runs by
 * turns, each on a stack of its own. What one of them reads and writes within its turn is
 * its own, so it is followed as a task of asyncio is by its context (python.h): who reads
 * a request, calls, and gives the response serves that request. One that was started by
 * another may serve anybody: nothing tells who waits for it. Inside a task of asyncio
 * greenlets are means of the same task (SQLAlchemy).
 * Found by src/discovery/targets.ts: greenlet exports its C++ functions, from 2.0 on.
 */

/* What returns an object of C++ gets its place as the first argument, on arm64 apart. */
#if defined(__TARGET_ARCH_x86)
#define THIS_OF_RETURNING(ctx) ARGUMENT2(ctx)
#else
#define THIS_OF_RETURNING(ctx) ARGUMENT1(ctx)
#endif

/* Counted for whatever process: each pays for the probe. */
static __always_inline struct thread_state *greenlet_thread(void)
{
	count_stat(STAT_GREENLET_SWITCHES, 1);
	return thread_selected(bpf_get_current_pid_tgid());
}

/* greenlet::Greenlet::g_switchstack_success(this): the thread goes on in this one. */
SEC("uprobe")
int greenlet_switched(struct pt_regs *ctx)
{
	struct thread_state *thread = greenlet_thread();

	if (!thread || thread->runs_routines)
		return 0;
	if (!thread->runs_greenlets && python_context(thread))
		return 0;
	thread->runs_greenlets = 1;
	thread->context = THIS_OF_RETURNING(ctx);
	thread->outer_context = thread->item = 0;
	thread->has_taken = thread->has_called = 0;
	return 0;
}

/* greenlet::UserGreenlet::UserGreenlet(this, ...): another one may have been there. */
SEC("uprobe")
int greenlet_made(struct pt_regs *ctx)
{
	struct thread_state *thread = greenlet_thread();

	if (thread && thread->runs_greenlets)
		routine_forget(ARGUMENT1(ctx));
	return 0;
}

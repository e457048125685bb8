/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Greenlets (gevent, eventlet): threads of Python that one thread of the kernel runs by
 * turns, each on a stack of its own. What one of them reads and writes within its turn is
 * its own, so it is followed as a task of asyncio is by its context (python.h): who reads
 * a request, calls, and gives the response serves that request. One that such a one has
 * started is at that request, too, as long as
 *  - when the response is given, it has ended, and somebody waited for that: only then does
 *    gevent have its hub tell of it (Greenlet._notify_links);
 *  - it has had the hub run nothing else but that and what it has started itself: so one
 *    wakes up those who wait for an event, a lock, or something out of a queue, and it may
 *    have done something for them. Nor has it switched to another request's itself.
 * Inside a task of asyncio greenlets are means of the same task (SQLAlchemy).
 * Found by src/discovery/greenlets.ts: greenlet exports its C++ functions, from 2.0 on;
 * gevent's loop has a table of methods.
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

/* PyGreenlet: two words of an object, weakreflist, dict, then greenlet::Greenlet. */
#define GREENLET_OF_OBJECT 32
/* Bytes of a greenlet::Greenlet among which its PythonState is. */
#define GREENLET_STATE_MAX 256
/* PyMethodObject.im_self, PyCFunctionObject.m_self. */
#define PY_METHOD_SELF 24

/* The one at hand, if another one has started it, and it is at that one's request. */
static __noinline struct routine *greenlet_started(struct thread_state *thread)
{
	struct routine *known;

	if (!thread->runs_greenlets)
		return NULL;
	known = routine_find(thread->context);
	return known && known->starter && known->request.flags & CAUSE_TAKEN ? known : NULL;
}

/* The thread leaves one that was started for another one at a different request. */
static __noinline void greenlet_leaves(struct thread_state *thread, __u64 next)
{
	struct routine *started = greenlet_started(thread), *other;

	if (!started)
		return;
	other = routine_find(next);
	if (other && other->request.flags & CAUSE_TAKEN &&
	    !is_same_take(&other->request, &started->request))
		python_strays(started);
}

/* Which greenlet is it whose method is called so? 0: it is none's. */
static __noinline __u64 greenlet_of_method(__u64 method)
{
	__u64 object = 0, greenlet = 0;

	if (bpf_probe_read_user(&object, sizeof(object), (void *)(method + PY_METHOD_SELF)) ||
	    bpf_probe_read_user(&greenlet, sizeof(greenlet), (void *)(object + GREENLET_OF_OBJECT)))
		return 0;
	return greenlet;
}

/* One that was started has the hub run a method: of its own, when it ends; or of what it starts. */
static __noinline void greenlet_has_run(struct thread_state *thread, struct routine *started,
					__u64 method)
{
	__u64 greenlet = greenlet_of_method(method);
	struct routine *made;

	if (greenlet == thread->context) {
		started->is_named = 1;
		return;
	}
	made = routine_find(greenlet);
	if (!made || made->starter != thread->context || made->starter_born != started->born)
		python_strays(started);
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
	greenlet_leaves(thread, THIS_OF_RETURNING(ctx));
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
	__u64 greenlet = ARGUMENT1(ctx);
	struct routine *maker, *made;

	if (!thread || !thread->runs_greenlets)
		return 0;
	maker = routine_find(thread->context);
	if (!maker || maker->has_ended || is_over(&maker->request)) {
		routine_forget(greenlet);
		return 0;
	}
	made = routine_renew(greenlet);
	if (!made)
		return 0;
	made->request = maker->request;
	python_is_born(made);
	python_starts(made, thread->context, maker);
	return 0;
}

/* greenlet::PythonState::did_finish(this, ...): the one at hand has ended; or another one is freed. */
SEC("uprobe")
int greenlet_ended(struct pt_regs *ctx)
{
	struct thread_state *thread = greenlet_thread();
	struct routine *started = thread ? greenlet_started(thread) : NULL;

	if (!started || ARGUMENT1(ctx) - thread->context >= GREENLET_STATE_MAX)
		return 0;
	started->has_ended = 1;
	if (started->is_named && !started->calling)
		python_ends(started, thread->context);
	return 0;
}

/* gevent's loop.run_callback(self, { method, arguments ... }): a tuple, or by vectorcall. */
SEC("uprobe")
int greenlet_schedules(struct pt_regs *ctx)
{
	struct thread_state *thread = greenlet_thread();
	struct routine *started = thread ? greenlet_started(thread) : NULL;
	__u64 arguments = ARGUMENT2(ctx), type = 0, method = 0;
	char name[UV_NAME_MAX] = {};

	if (!started)
		return 0;
	bpf_probe_read_user(&type, sizeof(type), (void *)(arguments + PY_OBJECT_TYPE));
	if (py_type_name(type, name) && name[0] == 't' && name[1] == 'u' && name[2] == 'p')
		arguments += PY_TUPLE_ITEMS;
	if (!bpf_probe_read_user(&method, sizeof(method), (void *)arguments))
		greenlet_has_run(thread, started, method);
	return 0;
}

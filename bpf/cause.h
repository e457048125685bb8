/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What has this thread taken last? Whatever a thread sends may be caused by it, and
 * user space (src/traces/causes.ts) judges whether it is. Kept with the thread's
 * state, which every probe has looked up anyway, and told with every write and
 * connect: reads inside a run have no record of their own, but they count here.
 */
#ifndef UNDERSPAN_CAUSE_H
#define UNDERSPAN_CAUSE_H

/* A poll of so few is a thread that waits for its own peer (libcurl adds a wake-up
 * socket); a loop has a listener, a connection and what it calls. */
#define POLL_OWN_MAX 2

#define CAUSE_OF_THREAD (CAUSE_LOOPS | CAUSE_GUARDED)
#define CAUSE_HANDED (CAUSE_CAME | CAUSE_INHERITED)
/* Names of threads of Java's HttpClient begin so, in wire order. */
#define CLIENT_NAME 0x65696c4370747448ULL /* HttpClie */

/* From here on the thread's state tells of this goroutine. */
static __always_inline void cause_of_routine(struct thread_state *thread, __u64 routine)
{
	struct routine *known = routine_find(routine);

	thread->routine = routine;
	__builtin_memset(&thread->cause, 0, sizeof(thread->cause));
	__builtin_memset(&thread->request, 0, sizeof(thread->request));
	if (known && !known->takes_items)
		thread->request = known->request;
	else if (known && known->item.flags & CAUSE_ITEM)
		thread->request = known->item;
	thread->request.flags |= CAUSE_ROUTINE;
	if (thread->runs_routines == ROUTINES_VIRTUAL)
		thread->request.flags |= CAUSE_CAME;
}

static __always_inline void cause_keep_routine(struct thread_state *thread)
{
	struct routine *routine = routine_renew(thread->routine);

	if (routine)
		routine->request = thread->request;
}

/* Its goroutine calls somebody while it works on an item: bpf/go_channel.h. */
static __noinline void cause_calls(struct thread_state *thread)
{
	struct routine *routine = routine_find(thread->routine);

	if (routine)
		routine->has_called = 1;
}

/* Names what the thread is at, among all that this or another thread is at. */
static __always_inline __u64 slice_name(struct thread_state *thread)
{
	return thread->pid_tgid << 32 | thread->slices;
}

/* The thread asks on a connection of its own. What was begun (or a connection opened)
 * amid one thing and goes on amid another was not asked for amid either. */
static __always_inline void cause_asks(struct thread_state *thread, struct connection *c)
{
	__u64 slice = slice_name(thread);

	if (c->role == ROLE_SERVER || c->session)
		return;
	if (c->direction == DIRECTION_INGRESS)
		c->asked_timers = thread->timers;
	else if (c->asked_slice != slice)
		slice = 0;
	c->asked_slice = slice;
}

struct addrinfo {
	__u32 flags, family, socktype, protocol, addrlen, padding;
	__u64 addr;
	__u64 canonname;
	__u64 next;
};

#define LOOKED_UP_MAX 8
/* Flags of the take with which a name was asked for, above the bits of an address. */
#define LOOKED_SHIFT 48

/* Is the other end one of the addresses of the name that the thread has looked up? */
static __always_inline bool is_looked_up(struct thread_state *thread, struct connection *c)
{
	__u64 at = thread->looked_up & ((1ULL << LOOKED_SHIFT) - 1);

	if (thread->context || thread->looked_slice != thread->slices)
		return false;
	for (int i = 0; i < LOOKED_UP_MAX && at; i++) {
		__u32 *remote = (__u32 *)c->address.remote, found[4] = {};
		struct addrinfo info;

		if (bpf_probe_read_user(&info, sizeof(info), (void *)at))
			return false;
		at = info.next;
		if (info.family == AF_INET)
			bpf_probe_read_user(found, 4, (void *)(info.addr + 4));
		else if (info.family == AF_INET6)
			bpf_probe_read_user(found, sizeof(found), (void *)(info.addr + 8));
		if (info.family == c->address.family && found[0] == remote[0] &&
		    (info.family == AF_INET || (found[1] == remote[1] && found[2] == remote[2] &&
						found[3] == remote[3])))
			return true;
	}
	return false;
}

/* It connects, and another thread may send what its request needs (Java's HttpClient). */
static __always_inline void cause_connects_for(struct event_cause *request, struct event_cause *cause)
{
	if (!(request->flags & CAUSE_TAKEN) ||
	    request->flags & (CAUSE_WAITED | CAUSE_WOKEN | CAUSE_ENDED))
		return;
	*cause = *request;
	cause->flags = CAUSE_TAKEN | CAUSE_HANDED;
}

/* HttpClient-1-Worker-1, as far as the kernel knows: not its selector, which does some things itself. */
static __noinline bool is_client_worker(void)
{
	__u64 name[2] = {};
	char *number = (char *)&name[1] + 3;

	bpf_get_current_comm(name, sizeof(name));
	if (name[0] != CLIENT_NAME)
		return false;
	return (number[1] == '-' && number[2] == 'W') || (number[2] == '-' && number[3] == 'W');
}

/* Which HttpClient's thread is it: what follows HttpClient- in its name, two octets; 0: of none. */
static __noinline __u32 client_number(void)
{
	__u64 name[2] = {};

	bpf_get_current_comm(name, sizeof(name));
	return name[0] == CLIENT_NAME ? (__u32)(name[1] >> 24) & 0xffff : 0;
}

/* A thread of the client's own writes, or asks whether the connection is open. */
static __always_inline void pool_tells(struct connection *c)
{
	if (c->pool == POOL_ANY && is_client_worker())
		c->pool = POOL_OWN;
}

/* Java's HttpClient has taken the connection out of its pool, and reads an octet that is not
 * there: is it still open? Whichever thread sends it, what is asked for next is for what this
 * one does; and it waits for that, unless the client has been given an executor that runs all
 * where it is asked to. Carriers of virtual threads of which it is not known which one runs are at
 * several things. */
static __noinline void cause_checks(struct thread_state *thread, struct connection *c)
{
	struct event_cause *request = &thread->request;

	c->handed.flags = 0;
	if (c->pool == POOL_NONE)
		c->pool = POOL_ANY;
	pool_tells(c);
	if (thread->has_job) {
		c->handed = thread->job;
		/* Its client hands each job to the thread that is woken for it, or made; the next one may
		 * be taken without that. */
		if (thread->has_job == JOB_NEW && c->handed.flags & CAUSE_TAKEN && is_client_worker())
			c->handed.flags |= CAUSE_DIRECT | CAUSE_RESUMED;
		thread->has_job = JOB_BEGUN;
		return;
	}
	if (thread->cause.flags & CAUSE_LOOPS || !(request->flags & CAUSE_TAKEN) ||
	    request->flags & (CAUSE_WAITED | CAUSE_WOKEN | CAUSE_ENDED | CAUSE_LOOPS))
		return;
	if (thread->runs_routines != ROUTINES_VIRTUAL && is_carrier())
		return;
	c->handed = *request;
	c->handed.flags = CAUSE_TAKEN | CAUSE_HANDED | CAUSE_DIRECT;
}

static __always_inline bool is_checked(struct connection *c)
{
	return (c->handed.flags & (CAUSE_HANDED | CAUSE_TASK | CAUSE_ROUTINE)) == CAUSE_HANDED;
}

static __always_inline void cause_connects_job(struct thread_state *thread, struct connection *c)
{
	c->cause = thread->job;
	thread->has_job = JOB_BEGUN;
}

/* It calls connect. To whom it has just looked up, it does so for whoever had asked for
 * the name, whatever it was at meanwhile. */
static __always_inline void cause_connects(struct thread_state *thread, struct connection *c)
{
	__u32 how = CAUSE_DIRECT | CAUSE_RESUMED;

	if (thread->context)
		python_connects(thread);
	c->cause = thread->cause;
	c->asked_slice = slice_name(thread);
	c->asked_timers = thread->timers;
	if (has_units(thread))
		unit_tells(thread, &c->cause);
	else if (is_looked_up(thread, c))
		c->cause.flags = (c->cause.flags & ~how) | (thread->looked_up >> LOOKED_SHIFT & how);
	else if (thread->has_ids)
		node_sends(thread, c, &c->cause);
	else if (thread->has_job)
		cause_connects_job(thread, c);
	else if (!(thread->cause.flags & CAUSE_LOOPS))
		cause_connects_for(&thread->request, &c->cause);
}

/* What a write of the thread on this connection may be caused by. */
static __always_inline void cause_of_write(struct thread_state *thread, struct connection *c,
					   struct event_cause *cause, struct event_cause *request)
{
	pool_tells(c);
	/* What tasks gave to the connection counts as long as tasks are followed. */
	bool is_handed = c->handed.flags &&
			 (thread->runs_routines == ROUTINES_GO || thread->context);

	*cause = thread->cause;
	*request = is_handed ? c->handed : thread->request;
	if (is_handed)
		cause->flags |= c->handed_name;
	if (has_units(thread)) {
		unit_tells(thread, request);
	} else if (thread->runs_tasks) {
		tokio_writes(thread, c, request);
	} else if (thread->runs_routines == ROUTINES_GO) {
		if (!c->handed.flags && request->flags & (CAUSE_ITEM | CAUSE_INHERITED))
			cause_calls(thread);
	} else if (thread->context || (thread->item && !thread->runs_routines)) {
		cause->flags |= python_writes(thread, c, request);
	} else if (thread->has_ids) {
		node_sends(thread, c, cause);
	} else if (is_checked(c)) {
		*request = c->handed;
		if (c->pool == POOL_OWN && request->flags & CAUSE_DIRECT &&
		    !(request->flags & CAUSE_RESUMED))
			request->flags |= CAUSE_SOLE;
	} else if (thread->has_job) {
		*request = thread->job;
	} else if (!thread->runs_routines && thread->request.flags & CAUSE_CAME && !is_client(c) &&
		   serves_other(&thread->request, c)) {
		/* It was at that one: what it does next may be for either. */
		thread->request.flags &= ~CAUSE_TAKEN;
	}
}

/* What one descriptor has set the loop to work for, as far as is known: flags of the thread's cause go
 * in. Another thread may put something into its queues, too: while it is awake, that needs no
 * descriptor (Boost.Asio). A function of its own, for the verifier: where it knows which of the values
 * comes out, it walks all that follows once for each. */
__noinline int sole_flags(__u32 flags)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct signal_struct *group;

	if (flags & CAUSE_GUARDED)
		return CAUSE_SOLE;
	group = KERNEL_READ(struct task_struct, task, signal);
	return KERNEL_READ(struct signal_struct, group, live.counter) > 1 ? CAUSE_SOLE | CAUSE_SHARED :
									    CAUSE_SOLE;
}

/* Bytes up to `seq` were taken from the connection. */
static __always_inline void cause_taken(struct thread_state *thread, struct connection *c,
					__u32 slot, __u32 seq, __u32 flags)
{
	struct event_cause *cause = &thread->cause, *request = &thread->request;

	if (c->session)
		return; /* ciphertext: what is taken is the plaintext, from the session */
	if (is_checked(c))
		c->handed.flags = 0;
	if (c->role == ROLE_SERVER || c->asked_slice == slice_name(thread))
		flags |= CAUSE_DIRECT;
	if (cause->flags & CAUSE_GUARDED &&
	    (c->role == ROLE_SERVER || c->asked_timers == thread->timers))
		flags |= CAUSE_QUIET;
	thread->slices++;
	if (flags & CAUSE_DIRECT)
		c->asked_slice = slice_name(thread); /* for what else there is of it */
	if (thread->sole) {
		bool is_other = thread->sole == SOLE_TAKEN && thread->sole_slot != slot;

		thread->sole = is_other ? SOLE_NONE : SOLE_TAKEN;
		thread->sole_slot = slot;
	}
	cause->slot = slot;
	cause->generation = c->generation;
	cause->seq = seq;
	cause->flags = (cause->flags & CAUSE_OF_THREAD) | CAUSE_TAKEN | flags |
		       (thread->sole ? sole_flags(cause->flags) : 0);
	if (thread->task && !(flags & CAUSE_ENDED))
		tokio_reads(thread, c);
	if (thread->context && !(flags & CAUSE_ENDED))
		python_takes(thread, c);
	if (thread->has_ids)
		node_turns(thread, c);
	if (is_client(c) || flags & CAUSE_ENDED)
		return;
	request->slot = slot;
	request->generation = c->generation;
	request->seq = seq;
	request->flags = (request->flags & (CAUSE_LOOPS | CAUSE_ROUTINE)) | CAUSE_TAKEN;
	if (thread->runs_routines) {
		cause_keep_routine(thread);
	} else if (thread->has_units && thread->unit) {
		unit_takes(thread, request);
	} else {
		thread->item = 0;
		thread->has_job = JOB_NONE;
		thread->has_request = 1;
	}
}

/* The thread has come to a request that another one took: bytes up to `seq`. */
static __always_inline void cause_came(struct thread_state *thread, struct connection *c,
				       __u32 slot, __u32 seq)
{
	struct event_cause *request = &thread->request;

	if (request->slot == slot && request->generation == c->generation && request->seq == seq &&
	    request->flags & CAUSE_TAKEN && !(request->flags & CAUSE_WAITED))
		return; /* it has taken that itself */
	request->slot = slot;
	request->generation = c->generation;
	request->seq = seq;
	request->flags = (request->flags & CAUSE_LOOPS) | CAUSE_TAKEN | CAUSE_CAME;
}

/* The thread has waited for any of several descriptors: what it does next may be
 * for any of them. */
static __always_inline void cause_waited(struct thread_state *thread)
{
	thread->cause.flags |= CAUSE_WAITED | CAUSE_LOOPS;
	thread->request.flags |= CAUSE_WAITED | CAUSE_LOOPS;
	thread->sole = SOLE_NONE;
	thread->unclaimed = UNCLAIMED_NONE;
	if (has_units(thread))
		thread->unit = 0;
	if (thread->has_ids)
		node_turns(thread, NULL);
}

/* Loops round up what they wait for their next timer, some of them twice. */
#define TIMEOUT_ROUNDING_NS 2000000ULL

/* epoll_wait returned. A loop that would have slept has nothing left to run, and its
 * timeout says when its next timer is due: if it is told of one descriptor before
 * that, nothing else sets it to work. A loop that only looks, and is told of nothing,
 * goes on with what it has. */
static __always_inline void cause_polled(struct thread_state *thread, long count, __s32 timeout_ms)
{
	__u64 now = bpf_ktime_get_boot_ns(), since = thread->waited_ns;
	bool is_sole;

	thread->last_waited_ns = since;
	thread->waited_ns = now;
	if (timeout_ms) {
		thread->due_ns = timeout_ms < 0 ? ~0ULL : since + timeout_ms * 1000000ULL;
		is_sole = count == 1;
	} else {
		is_sole = count == 1 && thread->sole == SOLE_ACCEPTED;
	}
	is_sole = is_sole && now + TIMEOUT_ROUNDING_NS < thread->due_ns;
	if (!timeout_ms && !count && thread->sole && now + TIMEOUT_ROUNDING_NS < thread->due_ns)
		return;
	cause_waited(thread);
	if (is_sole)
		thread->sole = SOLE_REPORTED;
}

/* Something other than a connection's bytes may have set the thread to work. */
static __always_inline void cause_turned(struct thread_state *thread)
{
	thread->cause.flags |= CAUSE_WOKEN;
	thread->request.flags |= CAUSE_WOKEN;
	thread->sole = SOLE_NONE;
	thread->unclaimed = UNCLAIMED_NONE;
	if (thread->has_ids)
		node_turns(thread, NULL);
}

/* It has. */
static __always_inline void cause_woken(struct thread_state *thread)
{
	cause_turned(thread);
	thread->slices++;
}

/* By a descriptor that others write to. */
static __always_inline void cause_signalled(struct thread_state *thread)
{
	cause_woken(thread);
	thread->woken_slice = thread->slices;
}

/* The thread gives work away (libuv: a name to look up, a file, a digest). */
static __always_inline void cause_gives(struct thread_state *thread, __u64 address)
{
	struct session_key key = { .session = address, .pid = thread->pid_tgid >> 32 };
	struct work work = { .cause = thread->cause, .slice = slice_name(thread) };
	__u32 known = CAUSE_TAKEN | CAUSE_LOOPS | CAUSE_GUARDED;

	/* Of the same name there may be one of which nobody said that it was done. */
	if ((work.cause.flags & known) != known ||
	    work.cause.flags & (CAUSE_WAITED | CAUSE_WOKEN | CAUSE_ENDED))
		bpf_map_delete_elem(&works, &key);
	else if (bpf_map_update_elem(&works, &key, &work, BPF_ANY))
		count_loss(LOSS_THREADS_FULL);
}

/* It is done, and the thread goes on with what it was at; that it had to be woken for
 * that is nothing that has come between. */
static __always_inline void cause_resumes(struct thread_state *thread, __u64 address,
					  __u64 looked_up)
{
	struct session_key key = { .session = address, .pid = thread->pid_tgid >> 32 };
	struct work *work = bpf_map_lookup_elem(&works, &key);
	__u64 now = slice_name(thread);

	cause_turned(thread);
	if (!work) {
		thread->slices++;
		return;
	}
	thread->cause = work->cause;
	if (work->slice != now && (work->slice + 1 != now || thread->woken_slice != thread->slices)) {
		thread->slices++;
		thread->cause.flags &= ~CAUSE_DIRECT;
		thread->cause.flags |= CAUSE_RESUMED;
	}
	thread->looked_up = looked_up | (__u64)work->cause.flags << LOOKED_SHIFT;
	thread->looked_slice = thread->slices;
	bpf_map_delete_elem(&works, &key);
	if (thread->has_ids)
		node_turns(thread, NULL);
}

/* It takes a message that a thread, or itself, has posted: it goes on with what that was at.
 * Not so where it looks for messages amid something else, and serves requests itself. */
static __always_inline void cause_receives(struct thread_state *thread, __u64 message)
{
	struct session_key key = { .session = message, .pid = thread->pid_tgid >> 32 };
	struct work *work = bpf_map_lookup_elem(&works, &key);

	if (work && work->slice == slice_name(thread))
		return; /* a copy of a value */
	if (thread->is_receiving || !thread->has_request)
		cause_resumes(thread, message, 0);
	else
		cause_woken(thread);
}

/* It has accepted a connection: that alone sends nothing. */
static __always_inline void cause_accepted(struct thread_state *thread)
{
	bool is_sole = thread->sole == SOLE_REPORTED || thread->sole == SOLE_ACCEPTED;

	cause_woken(thread);
	if (is_sole)
		thread->sole = SOLE_ACCEPTED;
}

/* A new process goes on with what the forking thread was doing (CGI); so does the
 * program that it then executes. */
static __always_inline void cause_inherit(__u32 parent_tid, __u32 tid)
{
	struct thread_state *parent = thread_at(parent_tid), *child;

	if (!parent || !(parent->request.flags & CAUSE_TAKEN))
		return;
	child = thread_in(thread_sit((__u64)tid << 32 | tid));
	if (!child)
		return;
	child->request = parent->request;
	child->request.flags = (child->request.flags & ~CAUSE_CAME) | CAUSE_INHERITED;
}

/* The thread runs a new program: whether that is observed is to be asked again. */
static __always_inline void cause_keep(__u32 tid)
{
	struct thread_state *thread = thread_at(tid);

	if (thread) {
		thread->epoch = 0;
		thread->cause.flags = 0;
		thread->context = thread->outer_context = thread->item = 0;
		thread->has_job = JOB_NONE;
		thread->has_request = thread->has_units = 0;
		thread->runs_greenlets = 0;
		thread->runs_tasks = 0;
		thread->runs_routines = thread->may_carry = 0;
		thread->task = 0;
		if (thread->has_ids)
			node_forgets(thread);
	}
}

#endif

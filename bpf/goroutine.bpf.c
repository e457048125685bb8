/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a goroutine does for another one. It is started: then it goes on with the
 * request of the one that starts it. It hands a request to the goroutine that writes
 * for a connection of net/http's pool: whose request that is, is known at the moment
 * when it enters persistConn.roundTrip, which names the connection.
 */

/* net/http.persistConn: alt, t, cacheKey, then conn, an interface. */
#define GO_PERSIST_CONN 80

/* A digest of how a goroutine was started: the function, and how its starter was. */
static __always_inline __u32 start_digest(__u32 flags, __u64 code)
{
	__u64 mixed = (code ^ (flags >> CAUSE_START_SHIFT)) * 0x9e3779b97f4a7c15ULL;

	return ((__u32)(mixed >> 48) | 1) << CAUSE_START_SHIFT;
}

/* Its routine tells since when values are known to go through channels of the process: no goroutine's
 * address. All places are probed a moment later. */
#define GO_FOLLOWED 1
#define GO_FOLLOWED_NS (200 * 1000000ULL)

/* Does it show whether the goroutine does something for others? */
static __always_inline __u32 go_guarded(void)
{
	__u32 zero = 0;
	struct settings *now = bpf_map_lookup_elem(&settings, &zero);
	struct routine *since = routine_find(GO_FOLLOWED);

	if (!now || now->ignores_channels || !since ||
	    bpf_ktime_get_boot_ns() - since->source < GO_FOLLOWED_NS)
		return 0;
	return CAUSE_GUARDED;
}

/* runtime.newproc1(function, goroutine that starts it, ...), on the scheduler's stack:
 * the thread does nothing else before it returns. */
SEC("uprobe")
int go_start_enter(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	struct routine *starter;
	__u64 code = 0;

	if (!thread)
		return 0;
	thread->starting.flags = 0;
	starter = routine_find(GO_SECOND(ctx));
	if (!starter || bpf_probe_read_user(&code, sizeof(code), (void *)GO_FIRST(ctx)))
		return 0;
	if (starter->takes_items) {
		starter->has_passed = 1;
		thread->starting = starter->item;
		thread->starting.flags &= CAUSE_TAKEN | CAUSE_ITEM;
		return 0;
	}
	thread->starting = starter->request;
	thread->starting.flags = CAUSE_ROUTINE | CAUSE_TAKEN | CAUSE_INHERITED | go_guarded() |
				 start_digest(starter->request.flags, code);
	return 0;
}

/* It returns the new one, at an address where another one may have been before. */
SEC("uprobe")
int go_start_return(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	struct routine *started;

	if (!thread)
		return 0;
	if (!thread->starting.flags) {
		routine_forget(GO_FIRST(ctx));
		return 0;
	}
	started = routine_renew(GO_FIRST(ctx));
	if (started && !(thread->starting.flags & CAUSE_ROUTINE)) {
		/* By one that works on an item, which may be its task from now on: see go_begins. */
		go_works(started, &thread->starting, thread->starting.flags & CAUSE_ITEM);
		started->open[0] = started->item;
	} else if (started) {
		started->request = thread->starting;
	}
	thread->starting.flags = 0;
	return 0;
}

/* The connection that is behind a persistConn: a session of crypto/tls, or a socket. */
static __noinline struct connection *go_connection(__u64 persist)
{
	struct session_key key = { .pid = bpf_get_current_pid_tgid() >> 32 };
	__u64 now = bpf_ktime_get_boot_ns(), conn = 0;
	struct connection *s;
	__u32 slot;
	struct sock *sk;
	__s64 fd;

	if (bpf_probe_read_user(&conn, sizeof(conn), (void *)(persist + GO_PERSIST_CONN + 8)))
		return NULL;
	key.session = conn;
	s = session_find(&key, &slot);
	if (s)
		return s;
	fd = go_net_descriptor(conn);
	sk = fd >= 0 ? sock_at(fd) : NULL;
	return sk ? connection_of(sk, &slot, now, 0) : NULL;
}

SEC("uprobe")
int go_round_trip(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	struct connection *c;

	if (!thread)
		return 0;
	c = go_connection(GO_FIRST(ctx));
	if (!c || !is_selected(c, thread))
		return 0;
	cause_of_routine(thread, GO_ROUTINE(ctx));
	c->handed = thread->request;
	cause_calls(thread);
	return 0;
}

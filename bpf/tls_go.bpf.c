/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Go's crypto/tls, from Go 1.17 on (arguments in registers: Go's ABIInternal). A
 * goroutine may come back on another thread, so a call is named by its goroutine; a
 * return probe would break the runtime's stack walks, so returns are probed where the
 * function's RET instructions are. The socket is what the connection itself says:
 * tls.Conn holds a net.Conn, which, if it is a *net.TCPConn or the like, holds the
 * descriptor. Everything on that way is checked for what it must look like.
 */

struct go_key {
	__u64 routine; /* address of its g */
	__u32 pid;
	__u32 kind; /* enum tls_call_kind */
};

/* Calls under way, by goroutine and kind: a blocked Read may be left for long, and a
 * Write does not come between on the same goroutine. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct go_key);
	__type(value, struct tls_call);
} go_calls SEC(".maps");

/* The descriptor of a tls.Conn, -1 if it does not lie directly on a stream socket. */
static __always_inline __s64 go_descriptor(__u64 conn)
{
	__u64 inner = 0;

	if (bpf_probe_read_user(&inner, sizeof(inner), (void *)(conn + 8)))
		return -1;
	return go_net_descriptor(inner);
}

/* Binds the session by its own descriptor. At the handshake's beginning nothing of it
 * has gone through yet. */
static __noinline void go_bind(__u64 conn, __u32 session_slot, __u32 kind)
{
	struct connection *s = connection_at(session_slot), *c;
	__s64 fd = go_descriptor(conn);
	__u32 slot;
	struct io io = {};
	struct sock *sk;

	if (!s || fd < 0)
		return;
	sk = sock_at(fd);
	c = sk ? connection_find((__u64)sk, &slot) : NULL;
	if (!c || (c->flags & CONNECTION_UNIX && c->inode != inode_of(sk)))
		return;
	io.now = bpf_ktime_get_boot_ns();
	io.direction = DIRECTION_EGRESS;
	if (c->flags & CONNECTION_UNIX) {
		io.seq = c->counted_egress;
		io.other_seq = c->counted_ingress;
	} else {
		io.seq = KERNEL_READ(struct tcp_sock, sk, write_seq);
		io.other_seq = read_position(sk);
	}
	session_bind(slot, session_slot, &io,
		     kind == TLS_CALL_HANDSHAKE ? TLS_HANDSHAKE_RECORD : TLS_APPLICATION_RECORD);
}

/* The most that a write is told of when it begins; see go_tell_write. */
#define GO_WRITE_TOLD 16384

/* A write is counted where it begins: the peer may answer, and another goroutine may
 * have read the answer, before this one comes to the end of its call. For the same
 * reason it is told of there: told after its answer, it would be taken for what comes
 * next. A long one may block, and is told of when it has ended. */
static __always_inline void go_tell_write(struct thread_state *thread, struct tls_call *call,
					  struct connection *s, __u64 routine, __u64 bytes)
{
	if (bytes && bytes <= GO_WRITE_TOLD) {
		if (thread->runs_routines)
			cause_of_routine(thread, routine);
		tls_moved(thread, call, bytes, call->enter_ns);
		call->is_told = true;
	} else if (bytes <= 0x7fffffff) {
		call->counted = bytes;
		call->seq = s->counted_egress;
		call->other_seq = s->counted_ingress;
		s->counted_egress += call->counted;
	}
}

static __always_inline void go_enter(struct pt_regs *ctx, __u32 kind)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct session_key key = { .session = GO_FIRST(ctx), .pid = pid_tgid >> 32 };
	struct go_key name = { .routine = GO_ROUTINE(ctx), .pid = key.pid, .kind = kind };
	struct tls_call call = { .kind = kind };
	struct connection *s;
	__u32 slot;

	if (!thread || !key.session)
		return;
	s = session_find(&key, &slot);
	if (!s)
		s = session_create(&key, &slot);
	if (!s)
		return;
	call.session = slot + 1;
	call.generation = s->generation;
	if (!carrier_of(s))
		go_bind(key.session, slot, kind);
	if (kind == TLS_CALL_HANDSHAKE)
		return;
	call.buffer = GO_SECOND(ctx);
	call.enter_ns = bpf_ktime_get_boot_ns();
	if (kind == TLS_CALL_WRITE)
		go_tell_write(thread, &call, s, name.routine, GO_THIRD(ctx));
	if (bpf_map_update_elem(&go_calls, &name, &call, BPF_ANY))
		count_loss(LOSS_THREADS_FULL);
}

/* Of a write that was told of: it lasted until now. Of another: nothing of it went out. */
static __always_inline void go_end_write(struct tls_call *call, __s64 bytes)
{
	struct connection *s = connection_at(call->session - 1);

	if (!s || s->generation != call->generation)
		return;
	if (!call->is_told)
		s->counted_egress -= call->counted;
	else if (s->direction == DIRECTION_EGRESS && bytes > 0)
		s->run.last_ns = bpf_ktime_get_boot_ns();
}

static __always_inline void go_return(struct pt_regs *ctx, __u32 kind)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct go_key name = { .routine = GO_ROUTINE(ctx), .pid = pid_tgid >> 32, .kind = kind };
	struct tls_call *call;
	__s64 bytes = GO_FIRST(ctx);

	if (!thread)
		return;
	call = bpf_map_lookup_elem(&go_calls, &name);
	if (!call)
		return;
	if (thread->runs_routines)
		cause_of_routine(thread, name.routine);
	if (bytes > 0 && bytes <= 0x7fffffff && !call->is_told)
		tls_moved(thread, call, bytes, bpf_ktime_get_boot_ns());
	else if (kind == TLS_CALL_WRITE)
		go_end_write(call, bytes);
	bpf_map_delete_elem(&go_calls, &name);
}

SEC("uprobe")
int go_handshake_enter(struct pt_regs *ctx)
{
	go_enter(ctx, TLS_CALL_HANDSHAKE);
	return 0;
}

SEC("uprobe")
int go_read_enter(struct pt_regs *ctx)
{
	go_enter(ctx, TLS_CALL_READ);
	return 0;
}

SEC("uprobe")
int go_write_enter(struct pt_regs *ctx)
{
	go_enter(ctx, TLS_CALL_WRITE);
	return 0;
}

SEC("uprobe")
int go_read_return(struct pt_regs *ctx)
{
	go_return(ctx, TLS_CALL_READ);
	return 0;
}

SEC("uprobe")
int go_write_return(struct pt_regs *ctx)
{
	go_return(ctx, TLS_CALL_WRITE);
	return 0;
}

SEC("uprobe")
int go_close_enter(struct pt_regs *ctx)
{
	tls_freed(GO_FIRST(ctx));
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What happens to a socket in process context, as every front end tells of it: it was
 * created, accepted, connected, is about to be closed; a call on it has returned. A
 * front end finds the socket and the arguments its own way and comes here.
 */
#ifndef UNDERSPAN_SOCKET_CALL_H
#define UNDERSPAN_SOCKET_CALL_H

static __noinline void socket_created(struct sock *sk)
{
	struct birth birth = { .created_ns = bpf_ktime_get_boot_ns() };
	__u64 key = (__u64)sk;

	if (!is_tcp(sk) && !is_unix_stream(sk))
		return;
	if (bpf_map_update_elem(&births, &key, &birth, BPF_ANY))
		count_loss(LOSS_BIRTHS_FULL);
}

static __noinline void socket_accepted(struct sock *sk, struct thread_state *thread)
{
	__u64 now = bpf_ktime_get_boot_ns(), key = (__u64)sk;
	struct connection *c;
	__u32 slot;

	if (!is_tcp(sk) && !is_unix_stream(sk))
		return;
	c = connection_find(key, &slot);
	if (c) /* the end of the socket that was at this address went unseen */
		connection_close(slot, c->generation, now);
	c = connection_new(sk, ROLE_SERVER, &slot);
	if (!c)
		return;
	c->accepted_ns = now;
	if (!(c->flags & CONNECTION_UNIX))
		begin_positions(c, sk);
	cause_accepted(thread);
	if (is_selected(c, thread))
		connection_announce(slot, bpf_ktime_get_boot_ns());
}

/* The name that a program gave to connect: sockaddr_in, sockaddr_in6, sockaddr_un. */
struct socket_name {
	__u16 family, port;
	__u32 ipv4;
	__u8 ipv6[16];
	__u32 scope;
};
#define SHORT_NAME_BYTES 16 /* of a sockaddr_in */

/* TCP connects are followed by their state; what never left CLOSE, and unix
 * sockets, show only here. True if nothing else tells of this failure. */
static __noinline bool socket_connected(struct sock *sk, long result, struct thread_state *thread)
{
	__u64 now = bpf_ktime_get_boot_ns(), key = (__u64)sk;
	struct connection *c;
	__u32 slot;

	if (is_unix_stream(sk)) {
		if (result == 0) {
			c = connection_find(key, &slot);
			if (c)
				connection_close(slot, c->generation, now);
			c = connection_new(sk, ROLE_CLIENT, &slot);
			if (!c)
				return false;
			c->established_ns = now;
			cause_connects(thread, c);
			if (is_selected(c, thread))
				connection_announce(slot, bpf_ktime_get_boot_ns());
			return false;
		}
	} else if (!is_tcp(sk)) {
		return false;
	}
	c = connection_find(key, &slot);
	if (result >= 0 || c || result == -EAGAIN || result == -EINPROGRESS ||
	    result == -EINTR || result <= -ERESTARTSYS)
		return false;
	/* Failures that the state machine saw have had their record. EALREADY (114) and
	 * EISCONN (106) tell of another call; ECONNREFUSED (111), ETIMEDOUT (110),
	 * ECONNRESET (104) and EHOSTUNREACH (113) after SYN_SENT come through the state. */
	if (result == -114 || result == -106)
		return false;
	return is_unix_stream(sk) || (result != -111 && result != -110 && result != -104);
}

static __noinline void never_connected(struct sock *sk, struct socket_name *name,
				       __u32 error_number, struct thread_state *thread)
{
	struct failed_connect failed = {};

	failed.address.family = name->family;
	if (name->family == AF_INET) {
		*(__u32 *)failed.address.remote = name->ipv4;
		failed.address.remote_port = bpf_ntohs(name->port);
	} else if (name->family == AF_INET6) {
		__builtin_memcpy(failed.address.remote, name->ipv6, 16);
		failed.address.remote_port = bpf_ntohs(name->port);
	} else if (name->family != AF_UNIX) {
		return;
	}
	failed.connect_ns = thread->enter_ns;
	failed.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	failed.pid = bpf_get_current_pid_tgid() >> 32;
	failed.error_number = error_number;
	connect_failed(&failed, bpf_ktime_get_boot_ns());
}

/* A program asks how TCP is doing (TCP_INFO). Servers do so when they come to a request that
 * another of their threads has read: is the client still there (Puma)? */
static __noinline void socket_asked(struct sock *sk, struct thread_state *thread)
{
	struct connection *c;
	__u32 slot, seq;

	if (thread->runs_routines || thread->cause.flags & CAUSE_GUARDED || !is_tcp(sk))
		return;
	c = connection_find((__u64)sk, &slot);
	if (!c)
		return;
	seq = read_position(sk);
	if (c->session) {
		slot = c->session - 1;
		c = connection_at(slot);
		if (!c)
			return;
		seq = c->counted_ingress;
	}
	if (c->role != ROLE_CLIENT && c->direction == DIRECTION_INGRESS && is_selected(c, thread))
		cause_came(thread, c, slot, seq);
}

/* A read of one octet found none. */
static __noinline void socket_checked(struct sock *sk, struct thread_state *thread)
{
	struct connection *c;
	__u32 slot;

	if (thread->runs_routines == ROUTINES_GO || thread->context || thread->has_ids ||
	    thread->has_units)
		return;
	c = connection_find((__u64)sk, &slot);
	if (!c || c->direction != DIRECTION_INGRESS || !is_client(c) || !is_selected(c, thread))
		return;
	if (thread->may_carry)
		virtual_calls(thread);
	cause_checks(thread, c);
}

/* A unix socket is about to be closed for good; nothing else tells. */
static __noinline void unix_closing(struct sock *sk)
{
	struct connection *c;
	__u32 slot;

	if (BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX)
		return;
	c = connection_find((__u64)sk, &slot);
	if (!c)
		return;
	c->fin_sent_ns = bpf_ktime_get_boot_ns();
	c->flags |= CONNECTION_FIN_SENT;
	connection_close(slot, c->generation, c->fin_sent_ns);
}

/* A socket that was never seen is older than the agent (or than its process's selection), or
 * came by a call that is not seen. `c`: another one at its address, if any. */
static __noinline struct connection *connection_older(struct connection *c, struct sock *sk,
						      __u32 *slot, __u64 now, __u32 taken)
{
	__u8 state;

	if (c) /* another socket at the same address: the old one's end went unseen */
		connection_close(*slot, c->generation, now);
	if (!is_tcp(sk) && (!is_unix_stream(sk) || !unix_name(sk)))
		return NULL; /* a socketpair is a pipe between relatives, not a connection */
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (state == TCP_LISTEN)
		return NULL;
	c = connection_new(sk, ROLE_UNKNOWN, slot);
	if (!c)
		return NULL;
	if (c->flags & CONNECTION_UNIX) {
		c->flags |= CONNECTION_PREEXISTING | CONNECTION_PAIR_UNSURE;
		return c;
	}
	/* Accepted by no call that was seen (io_uring): from its beginning on, if nothing has
	 * gone through it but what this call took. */
	if (!c->established_ns || c->begin_ingress_seq + taken != read_position(sk) ||
	    c->begin_egress_seq != KERNEL_READ(struct tcp_sock, sk, write_seq))
		c->flags |= CONNECTION_PREEXISTING;
	read_tcp(&c->tcp, sk);
	return c;
}

/* The connection of a socket. `taken`: the bytes that the call at hand has read. */
static __always_inline struct connection *connection_of(struct sock *sk, __u32 *slot, __u64 now,
							__u32 taken)
{
	struct connection *c = connection_find((__u64)sk, slot);

	if (c && (!(c->flags & CONNECTION_UNIX) || c->inode == inode_of(sk)))
		return c;
	return connection_older(c, sk, slot, now, taken);
}

/* Fills the io of the call's lane, but for the buffer. NULL if there is nothing more
 * to do: the socket is not followed, or the call has ended it. */
static __noinline struct connection *call_returned(struct socket_call *call, struct io *io,
						   struct thread_state *thread)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct connection *c;
	bool ends;

	c = connection_of(call->sk, &call->slot, now,
			  call->writes || call->result < 0 ? 0 : call->result);
	if (!c || !is_selected(c, thread)) {
		if (!call->writes && call->result > 0)
			cause_woken(thread);
		else if (!c && thread->context && is_unix_stream(call->sk))
			python_signals(thread); /* by a socketpair: asyncio */
		return NULL;
	}
	if (!(c->flags & CONNECTION_ANNOUNCED)) {
		now = bpf_ktime_get_boot_ns();
		connection_announce(call->slot, now);
	}
	if (thread->may_carry)
		virtual_calls(thread);
	else if (thread->runs_routines == ROUTINES_GO && (call->writes || c->role != ROLE_CLIENT))
		routine_calls(thread);
	io->now = now;
	io->slot = call->slot;
	io->session = session_within(thread);
	io->buffer_kind = BUFFER_NONE;
	io->buffer = 0;
	io->iov_count = 0;
	io->skip = 0;
	io->together = 0;
	io->pid_tgid = thread->pid_tgid;
	io->direction = call->writes ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	io->enter_ns = 0;
	if (call->writes) {
		cause_of_write(thread, c, &io->cause, &io->request);
		cause_asks(thread, c);
		io->enter_ns = thread->enter_ns ? thread->enter_ns : now;
	} else {
		__builtin_memset(&io->cause, 0, sizeof(io->cause));
		__builtin_memset(&io->request, 0, sizeof(io->request));
		if (thread->runs_routines == ROUTINES_VIRTUAL && is_client(c))
			io->request = thread->request;
	}
	io->bytes = call->result > 0 ? call->result : 0;
	read_positions(io, c, call->sk);
	ends = call->result < 0 || (call->result == 0 && call->zero_ends);
	if (!ends)
		return c;
	socket_ended(call->slot, -call->result, call->lane);
	if (!call->writes)
		cause_taken(thread, c, call->slot, io->seq, CAUSE_ENDED);
	return NULL;
}

/* The call moved the bytes of its io. */
static __always_inline void call_moved(struct socket_call *call, struct io *io,
				       struct connection *c, struct thread_state *thread)
{
	socket_moved(call->slot, call->lane, io, c);
	if (!call->writes)
		cause_taken(thread, c, call->slot, io->seq + io->bytes, 0);
	note_queue(io, c, call->sk);
}

#endif

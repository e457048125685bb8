/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Facts of TCP that no system call shows: when a handshake began and ended, when
 * bytes reached the receive queue, who sent FIN or RST, when the socket is gone.
 * These run in any context (often a softirq in somebody else's thread), so they
 * never look at the current process, except for the SYN, which connect sends.
 */

static __always_inline void tcp_connecting(struct sock *sk, __u64 now)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	struct connection *c;
	__u32 slot;

	if (!thread)
		return;
	c = connection_find((__u64)sk, &slot);
	if (c)
		connection_close(slot, c->generation, now);
	c = connection_new(sk, ROLE_CLIENT, &slot);
	if (!c)
		return;
	c->connect_ns = now;
	cause_connects(thread, c);
	if (!is_selected(c, thread))
		connection_discard(c, slot);
}

static __always_inline void tcp_established(struct sock *sk, int old_state, __u64 now)
{
	__u64 key = (__u64)sk;
	struct connection *c;
	__u32 slot;

	if (old_state == TCP_SYN_RECV) {
		struct birth birth = {
			.established_ns = now,
			.ingress_seq = KERNEL_READ(struct tcp_sock, sk, copied_seq),
			.egress_seq = KERNEL_READ(struct tcp_sock, sk, write_seq),
		};

		if (bpf_map_update_elem(&births, &key, &birth, BPF_ANY))
			count_loss(LOSS_BIRTHS_FULL);
		return;
	}
	c = connection_find(key, &slot);
	if (!c || old_state != TCP_SYN_SENT)
		return;
	c->established_ns = now;
	begin_positions(c, sk);
	read_address(&c->address, sk); /* the source port is bound after SYN_SENT */
	connection_announce(slot, now);
}

/* A connection that its process now shuts, in this context, and that no call has shown so
 * far: accepted, read and written through an io_uring. NULL if it is older than the agent,
 * or nobody's. */
static __always_inline struct connection *tcp_unseen(struct sock *sk, __u32 *slot)
{
	__u64 key = (__u64)sk;
	struct birth *birth = bpf_map_lookup_elem(&births, &key);
	struct thread_state *thread;
	struct connection *c;

	if (!birth || !birth->established_ns)
		return NULL;
	thread = thread_selected(bpf_get_current_pid_tgid());
	if (!thread)
		return NULL;
	c = connection_new(sk, ROLE_SERVER, slot);
	if (!c)
		return NULL;
	if (!is_selected(c, thread)) {
		connection_discard(c, *slot);
		return NULL;
	}
	connection_announce(*slot, bpf_ktime_get_boot_ns());
	return c;
}

/* Has somebody read from a socket, or written to it, by no call that was seen? Then it has
 * been accepted, and what was not shut before is destroyed by its process: a reset or an
 * error ended it. (What was shut is destroyed by whoever the last packet interrupts.) */
static __always_inline bool has_moved_unseen(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct birth *birth = bpf_map_lookup_elem(&births, &key);

	return birth && birth->established_ns &&
	       (birth->ingress_seq != read_position(sk) ||
		birth->egress_seq != KERNEL_READ(struct tcp_sock, sk, write_seq));
}

static __always_inline void tcp_closing(struct sock *sk, int old_state, int new_state, __u64 now)
{
	__u64 key = (__u64)sk;
	struct connection *c;
	__u32 slot;

	c = connection_find(key, &slot);
	if (!c && (new_state == TCP_FIN_WAIT1 || new_state == TCP_LAST_ACK)) {
		c = tcp_unseen(sk, &slot);
		now = bpf_ktime_get_boot_ns();
		if (!c)
			bpf_map_delete_elem(&births, &key);
	}
	if (!c)
		return;
	if (new_state == TCP_FIN_WAIT1 || new_state == TCP_LAST_ACK) {
		read_tcp(&c->tcp, sk);
		c->fin_sent_ns = now;
		c->flags |= CONNECTION_FIN_SENT;
		connection_state_changed(slot, now);
		return;
	}
	if (new_state == TCP_CLOSE_WAIT || new_state == TCP_CLOSING) {
		c->fin_received_ns = now;
		c->flags |= CONNECTION_FIN_RECEIVED;
		return;
	}
	if (new_state != TCP_CLOSE)
		return;
	c->error_number = BPF_CORE_READ(sk, sk_err);
	if (old_state == TCP_SYN_SENT) {
		struct failed_connect failed = { .connect_ns = c->connect_ns,
						 .netns = c->netns,
						 .pid = c->pid,
						 .error_number = c->error_number };

		read_address(&failed.address, sk);
		/* tcp_v4_connect clears the address on failure in the call; ours is older. */
		if (!failed.address.remote_port)
			failed.address = c->address;
		connect_failed(&failed, now);
		connection_discard(c, slot);
		return;
	}
	if ((old_state == TCP_FIN_WAIT2 || old_state == TCP_FIN_WAIT1) &&
	    !(c->flags & (CONNECTION_RESET_RECEIVED | CONNECTION_RESET_SENT)) &&
	    !c->error_number) {
		c->fin_received_ns = now;
		c->flags |= CONNECTION_FIN_RECEIVED;
	}
	end_positions(c, sk);
	if (!(c->flags & CONNECTION_FIN_SENT))
		connection_state_changed(slot, now);
}

static __noinline int tcp_changed(struct sock *sk, int old_state, int new_state)
{
	__u64 now;

	if (new_state == TCP_LISTEN || new_state == TCP_SYN_RECV || !is_tcp(sk))
		return 0;
	now = bpf_ktime_get_boot_ns();
	if (new_state == TCP_SYN_SENT)
		tcp_connecting(sk, now);
	else if (new_state == TCP_ESTABLISHED)
		tcp_established(sk, old_state, now);
	else
		tcp_closing(sk, old_state, new_state, now);
	return 0;
}

static __noinline int tcp_destroyed(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct connection *c;
	__u32 slot;

	c = connection_find(key, &slot);
	if (!c && has_moved_unseen(sk)) {
		c = tcp_unseen(sk, &slot);
		if (c)
			end_positions(c, sk);
	}
	if (c)
		connection_close(slot, c->generation, bpf_ktime_get_boot_ns());
	bpf_map_delete_elem(&births, &key);
	return 0;
}

/* While a program runs on a CPU, the kernel skips runs of the same one there: for a packet
 * that interrupts it, or a task that preempts it (Linux 7). A connection would lose its
 * beginning or its end so. Each of these two programs has a copy that is called right
 * after it, and does what was skipped: what has not been marked as done. (A mark that says
 * that the program is under way would not do: it may be interrupted before it has set it.) */
#define DESTRUCTION 0xff /* no state of TCP */

static __always_inline __u64 event_of(struct sock *sk, int what)
{
	return address_of(sk) << 8 | (__u8)what;
}

static __always_inline int mark_done(struct sock *sk, int what)
{
	__u32 zero = 0;
	struct done_here *here = bpf_map_lookup_elem(&done, &zero);

	if (here)
		here->events[here->next++ & (DONE_MAX - 1)] = event_of(sk, what);
	return 0;
}

static __always_inline bool take_done(struct sock *sk, int what)
{
	__u32 zero = 0;
	struct done_here *here = bpf_map_lookup_elem(&done, &zero);
	__u64 event = event_of(sk, what);

	if (!here)
		return true;
#pragma unroll
	for (int i = 0; i < DONE_MAX; i++) {
		if (here->events[i] != event)
			continue;
		here->events[i] = 0;
		return true;
	}
	count_stat(STAT_RUNS_REPEATED, 1);
	return false;
}

TRACEPOINT(inet_sock_set_state)
int BPF_PROG(inet_sock_set_state, struct sock *sk, int old_state, int new_state)
{
	tcp_changed(sk, old_state, new_state);
	return mark_done(sk, new_state);
}

TRACEPOINT(inet_sock_set_state)
int BPF_PROG(again_sock_state, struct sock *sk, int old_state, int new_state)
{
	return take_done(sk, new_state) ? 0 : tcp_changed(sk, old_state, new_state);
}

/* The first one ends the connection; another may cross it. */
static __always_inline void note_reset(struct sock *sk, __u16 whose)
{
	__u64 key = (__u64)sk;
	struct connection *c;
	struct birth *birth;
	__u32 slot;

	if (!key)
		return;
	c = connection_find(key, &slot);
	if (c) {
		if (c->reset_ns)
			return;
		c->flags |= whose;
		c->reset_ns = bpf_ktime_get_boot_ns();
		return;
	}
	birth = bpf_map_lookup_elem(&births, &key);
	if (birth && !birth->reset_ns) {
		birth->reset_flag = whose;
		birth->reset_ns = bpf_ktime_get_boot_ns();
	}
}

TRACEPOINT(tcp_receive_reset)
int BPF_PROG(tcp_receive_reset, struct sock *sk)
{
	note_reset(sk, CONNECTION_RESET_RECEIVED);
	return 0;
}

TRACEPOINT(tcp_send_reset)
int BPF_PROG(tcp_send_reset, struct sock *sk)
{
	note_reset(sk, CONNECTION_RESET_SENT);
	return 0;
}

TRACEPOINT(tcp_destroy_sock)
int BPF_PROG(tcp_destroy_sock, struct sock *sk)
{
	tcp_destroyed(sk);
	return mark_done(sk, DESTRUCTION);
}

TRACEPOINT(tcp_destroy_sock)
int BPF_PROG(again_destroy, struct sock *sk)
{
	return take_done(sk, DESTRUCTION) ? 0 : tcp_destroyed(sk);
}

static __always_inline void data_ready(struct sock *sk)
{
	__u64 key = (__u64)sk;
	struct birth *birth;
	struct connection *c;
	__u32 slot;

	c = may_be_followed(key) ? connection_find(key, &slot) : NULL;
	if (c) {
		__u64 now = bpf_ktime_get_boot_ns();

		if (!(c->flags & CONNECTION_UNIX)) {
			note_arrival(c, sk, now);
			return;
		}
		c->ready_ns = now;
		if (!c->arrived_ns)
			c->arrived_ns = now;
		return;
	}
	/* Only what nobody has accepted yet has a birth to note this in. */
	if (KERNEL_READ(struct sock, sk, sk_socket))
		return;
	birth = bpf_map_lookup_elem(&births, &key);
	if (birth)
		birth_arrival(birth, sk);
}

/* Linux 6.3 (40e0b0908142). */
TRACEPOINT(sk_data_ready)
int BPF_PROG(sk_data_ready, struct sock *sk)
{
	data_ready(sk);
	return 0;
}

/* For what a kernel that preempts (Linux 7) skips: told twice, it is told the same. */
TRACEPOINT(sk_data_ready)
int BPF_PROG(again_sk_data_ready, struct sock *sk)
{
	data_ready(sk);
	return 0;
}

/* Before: the function that the tracepoint was put into. */
SEC("fentry/sock_def_readable")
int BPF_PROG(fentry_data_ready, struct sock *sk)
{
	data_ready(sk);
	return 0;
}

SEC("kprobe/sock_def_readable")
int BPF_KPROBE(kprobe_data_ready, struct sock *sk)
{
	data_ready(sk);
	return 0;
}

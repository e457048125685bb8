/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A connection is a socket: struct sock * -> slot -> struct connection. Slots are
 * handed out here and named with a generation, so that user space can tell a
 * late record from the next tenant's. A tcp socket's slot ends at
 * tcp_destroy_sock; a unix socket has no such event, so the inode number of its
 * file tells a new socket at an old address from the old one.
 */
#ifndef UNDERSPAN_CONNECTION_H
#define UNDERSPAN_CONNECTION_H

/* A number, by way of memory: the verifier allows neither arithmetic on a typed pointer
 * nor to hand it to a global function. */
static __always_inline __u64 address_of(struct sock *sk)
{
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), &sk);
	return address;
}

static __always_inline bool is_tcp(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) &&
	       BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP;
}

static __always_inline bool is_unix_stream(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_family) == AF_UNIX &&
	       BPF_CORE_READ(sk, sk_type) == SOCK_STREAM;
}

static __always_inline void read_address(struct event_address *a, struct sock *sk)
{
	struct in6_addr local = {}, remote = {};
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	__builtin_memset(a, 0, sizeof(*a));
	a->family = family;
	if (family == AF_UNIX)
		return;
	a->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	if (!a->local_port) /* given back: reset before it was accepted */
		a->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	a->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (family == AF_INET6) {
		BPF_CORE_READ_INTO(&local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&remote, sk, __sk_common.skc_v6_daddr);
		if (remote.in6_u.u6_addr32[0] || remote.in6_u.u6_addr32[1] ||
		    remote.in6_u.u6_addr32[2] != bpf_htonl(0xffff)) {
			__builtin_memcpy(a->local, &local, 16);
			__builtin_memcpy(a->remote, &remote, 16);
			return;
		}
		a->family = AF_INET; /* v4-mapped */
	}
	*(__u32 *)a->local = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	*(__u32 *)a->remote = BPF_CORE_READ(sk, __sk_common.skc_daddr);
}

static __always_inline __u64 mixed_address(__u64 address)
{
	address *= 0x9e3779b97f4a7c15ULL;
	address ^= address >> 29;
	address *= 0xbf58476d1ce4e5b9ULL;
	return address ^ address >> 32;
}

/* A tag that both sockets of a unix pair compute alike, never 0. Sockets lie side by side in
 * memory: pairs of them often have the same difference, so each is mixed by itself. */
static __always_inline __u32 unix_pair_tag(struct sock *sk)
{
	__u64 peer = (__u64)BPF_CORE_READ((struct unix_sock *)sk, peer);
	__u64 mixed = mixed_address(address_of(sk)) + mixed_address(peer);

	return (__u32)(mixed >> 32) | 1;
}

/* The listening socket's name: the accepted side has it itself, the connecting
 * side's peer has it. NULL for a socketpair and for unnamed sockets. */
static __always_inline struct unix_address *unix_name(struct sock *sk)
{
	struct unix_address *name = BPF_CORE_READ((struct unix_sock *)sk, addr);
	struct sock *peer;

	if (name)
		return name;
	peer = BPF_CORE_READ((struct unix_sock *)sk, peer);
	return peer ? BPF_CORE_READ((struct unix_sock *)peer, addr) : NULL;
}

/* Inode number of a socket's file; 0 for one that has none yet. */
static __always_inline __u32 inode_of(struct sock *sk)
{
	struct socket *socket = KERNEL_READ(struct sock, sk, sk_socket);
	struct inode *inode =
		(void *)socket + bpf_core_field_offset(struct socket_alloc, vfs_inode);

	return socket ? (__u32)KERNEL_READ(struct inode, inode, i_ino) : 0;
}

#define UNIX_PATH_MAX 108 /* of sun_path */

static __always_inline __u32 read_path(char *path, struct sock *sk)
{
	struct unix_address *name = unix_name(sk);
	__u32 length = name ? BPF_CORE_READ(name, len) - sizeof(__u16) : 0;

	if (length > UNIX_PATH_MAX) /* or less than nothing */
		return 0;
	if (bpf_probe_read_kernel(path, length, &name->name[0].sun_path)) {
		count_loss(LOSS_KERNEL_READ);
		return 0;
	}
	return length;
}

/* Which selectors' port criteria the connection meets. A role that is not known
 * is tried as both. */
static __always_inline void select_ports(struct connection *c)
{
	__u32 zero = 0, port;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);
	struct port_selection *match;

	if (!s)
		return;
	c->include = s->any_include;
	c->exclude = s->any_exclude;
	if (!s->has_ports || c->address.family == AF_UNIX)
		return;
	if (c->role != ROLE_CLIENT) {
		port = c->address.local_port;
		match = bpf_map_lookup_elem(&local_ports, &port);
		if (match) {
			c->include |= match->include;
			c->exclude |= match->exclude;
		}
	}
	if (c->role != ROLE_SERVER) {
		port = c->address.remote_port;
		match = bpf_map_lookup_elem(&peer_ports, &port);
		if (match) {
			c->include |= match->include;
			c->exclude |= match->exclude;
		}
	}
}

static __always_inline bool is_selected(struct connection *c, struct thread_state *t)
{
	return (c->include & t->include) && !(c->exclude & t->exclude);
}

static __always_inline struct connection *connection_at(__u32 slot)
{
	return bpf_map_lookup_elem(&connections, &slot);
}

/* Of the address only its lower half, copied: to a verifier that is a number, while it lets
 * nobody calculate with a typed pointer. */
static __always_inline __u32 hint_index(__u64 sk)
{
	__u32 low, line;

	asm volatile("%0 = %1" : "=w"(low) : "w"((__u32)sk));
	low >>= HINT_GRAIN_BITS;
	line = (low >> HINT_LINE_BITS) * 0x9e3779b1U >> (32 - HINT_BITS + HINT_LINE_BITS);
	return line << HINT_LINE_BITS | (low & ((1 << HINT_LINE_BITS) - 1));
}

static __always_inline __u32 *followed_near_at(__u64 sk)
{
	__u32 line = hint_index(sk) >> HINT_LINE_BITS;

	return bpf_map_lookup_elem(&followed_near, &line);
}

/* Of a packet's socket: may it be one that is followed? */
static __always_inline bool may_be_followed(__u64 sk)
{
	__u32 *count = followed_near_at(sk);

	return count && *count;
}

static __always_inline struct connection *connection_find(__u64 sk, __u32 *slot)
{
	__u32 index = hint_index(sk), *found;
	struct socket_hint *hint = bpf_map_lookup_elem(&socket_hints, &index);
	struct connection *c;

	if (!hint || !hint->followed)
		return NULL;
	*slot = hint->slot;
	c = connection_at(*slot);
	if (c && c->sk == sk)
		return c;
	found = bpf_map_lookup_elem(&sockets, &sk);
	if (!found)
		return NULL;
	*slot = *found;
	c = connection_at(*slot);
	if (!c || c->sk != sk)
		return NULL;
	hint->slot = *slot;
	return c;
}

/* The socket is in `sockets`, or is about to be; or it is no more. */
static __always_inline void hint_follow(__u64 sk, __s32 by)
{
	__u32 index = hint_index(sk);
	struct socket_hint *hint = bpf_map_lookup_elem(&socket_hints, &index);
	__u32 *near = followed_near_at(sk);

	if (hint)
		__sync_fetch_and_add(&hint->followed, by);
	if (near)
		__sync_fetch_and_add(near, by);
}

/* What `sockets` knows a slot's tenant by: its socket; a TLS session by itself, which is no
 * kernel address. */
static __always_inline __u64 tenancy_of(struct connection *c, __u32 slot, __u32 generation)
{
	return c->flags & CONNECTION_TLS ? (__u64)generation << 32 | slot : c->sk;
}

/* The end of a tenancy is seen by several: the socket's on any CPU, a library's call that
 * was preempted in between, user space. Only who deletes the entry in `sockets` ends it:
 * a slot that was freed twice would have two tenants from then on. (An atomic exchange
 * needs Linux 5.12.) */
static __always_inline bool tenancy_take(struct connection *c, __u32 slot, __u32 generation)
{
	__u64 key = tenancy_of(c, slot, generation);

	if (c->generation != generation || bpf_map_delete_elem(&sockets, &key))
		return false;
	if (!(c->flags & CONNECTION_TLS))
		hint_follow(key, -1);
	return true;
}

/* To be called by who has taken the tenancy. */
__noinline int slot_free(__u32 slot)
{
	struct connection *c = connection_at(slot);

	if (!c)
		return 0;
	c->sk = 0;
	c->generation++;
	if (bpf_map_push_elem(&free_slots, &slot, 0))
		count_loss(LOSS_SLOT_RETURN);
	return 0;
}

/* A connection that nobody is to be told of. */
static __always_inline void connection_discard(struct connection *c, __u32 slot)
{
	if (tenancy_take(c, slot, c->generation))
		slot_free(slot);
}

#define TOGETHER_NS 100000ULL

/* Bytes have reached the receive queue. Only this writes the ring, and a socket's arrivals come one
 * at a time; readers pick what they need by sequence number. What comes within TOGETHER_NS and finds
 * the bytes before it unread counts as having come with them. When all entries are of bytes that
 * nobody has read, the newest one is moved on: then an arrival may look later than it was. */
static __always_inline void note_arrival(struct connection *c, struct sock *sk, __u64 now)
{
	__u32 end = KERNEL_READ(struct tcp_sock, sk, rcv_nxt);
	__u32 read = KERNEL_READ(struct tcp_sock, sk, copied_seq);
	__u32 oldest = c->arrivals & (ARRIVALS_MAX - 1);
	__u32 newest = (c->arrivals - 1) & (ARRIVALS_MAX - 1);

	if (c->arrivals && c->arrival_end[newest] == end)
		return;
	if (c->arrivals && now - c->arrival_ns[newest] <= TOGETHER_NS &&
	    (__s32)(c->arrival_end[newest] - read) > 0) {
		c->arrival_end[newest] = end;
		return;
	}
	if (c->arrivals >= ARRIVALS_MAX && (__s32)(c->arrival_end[oldest] - read) > 0) {
		c->arrival_end[newest] = end;
		c->arrival_ns[newest] = now;
		return;
	}
	c->arrival_end[oldest] = end;
	c->arrival_ns[oldest] = now;
	c->arrivals++;
}

/* The same at a socket that nobody has accepted yet: the first bytes, and the latest. */
static __always_inline void birth_arrival(struct birth *birth, struct sock *sk)
{
	__u32 end = KERNEL_READ(struct tcp_sock, sk, rcv_nxt);
	__u64 now;

	if (birth->arrived_ns && birth->latest_end == end)
		return;
	now = bpf_ktime_get_boot_ns();
	birth->latest_end = end;
	birth->latest_ns = now;
	if (!birth->arrived_ns)
		birth->arrived_ns = now;
	if (now - birth->arrived_ns <= TOGETHER_NS)
		birth->arrived_end = end;
}

static __always_inline void add_arrival(struct connection *c, __u32 end, __u64 ns)
{
	__u32 at = c->arrivals++ & (ARRIVALS_MAX - 1);

	c->arrival_end[at] = end;
	c->arrival_ns[at] = ns;
}

/* What arrived before somebody accepted it. */
static __always_inline void begin_arrivals(struct connection *c, struct birth *birth)
{
	if (!birth->arrived_ns)
		return;
	add_arrival(c, birth->arrived_end, birth->arrived_ns);
	if (birth->latest_end != birth->arrived_end)
		add_arrival(c, birth->latest_end, birth->latest_ns);
}

/* What arrived while somebody accepted it: the socket was no longer nobody's, and not yet this
 * connection's. TCP knows when it had the last of that. */
static __always_inline void late_arrivals(struct connection *c, struct sock *sk)
{
	__u32 end = KERNEL_READ(struct tcp_sock, sk, rcv_nxt);
	__u32 newest = (c->arrivals - 1) & (ARRIVALS_MAX - 1);
	__u32 known = c->arrivals ? c->arrival_end[newest] : c->begin_ingress_seq;
	__u64 age_us;

	if (end == known)
		return;
	age_us = bpf_ktime_get_ns() / 1000 - KERNEL_READ(struct tcp_sock, sk, tcp_mstamp);
	add_arrival(c, end, bpf_ktime_get_boot_ns() - age_us * 1000);
}

/* A slot for the socket at `key`, which has none; negative if there is none. Fills what
 * the socket itself tells. */
__noinline int connection_create(__u64 key, __u32 role)
{
	struct sock *sk = (struct sock *)key;
	__u32 slot, generation, *other;
	struct connection *c;
	struct birth *birth;

	if (bpf_map_pop_elem(&free_slots, &slot)) {
		count_loss(LOSS_SLOTS_EXHAUSTED);
		return -1;
	}
	c = connection_at(slot);
	if (!c)
		return -1;
	generation = c->generation;
	__builtin_memset(c, 0, sizeof(*c));
	c->generation = generation + 1;
	c->inode = inode_of(sk);
	c->role = role;
	c->direction = DIRECTION_NONE;
	c->pid = bpf_get_current_pid_tgid() >> 32;
	c->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	birth = bpf_map_lookup_elem(&births, &key);
	if (birth) {
		c->created_ns = birth->created_ns;
		c->established_ns = birth->established_ns;
		c->reset_ns = birth->reset_ns;
		c->flags = birth->reset_flag;
		if (birth->established_ns) { /* by a handshake of the other side */
			c->role = ROLE_SERVER;
			c->begin_ingress_seq = birth->ingress_seq;
			c->begin_egress_seq = birth->egress_seq;
		}
		begin_arrivals(c, birth);
		bpf_map_delete_elem(&births, &key);
	}
	read_address(&c->address, sk);
	if (c->address.family == AF_UNIX) {
		c->flags |= CONNECTION_UNIX;
		c->pair_tag = unix_pair_tag(sk);
	}
	select_ports(c);
	c->sk = key;
	hint_follow(key, 1);
	if (!bpf_map_update_elem(&sockets, &key, &slot, BPF_NOEXIST)) {
		if (c->role == ROLE_SERVER && c->established_ns)
			late_arrivals(c, sk);
		return slot;
	}
	/* Another CPU was faster, or the table is full. */
	hint_follow(key, -1);
	slot_free(slot);
	other = bpf_map_lookup_elem(&sockets, &key);
	if (other)
		return *other;
	count_loss(LOSS_SOCKETS_FULL);
	return -1;
}

/* The same, as a pointer. */
static __always_inline struct connection *connection_new(struct sock *sk, __u32 role, __u32 *slot)
{
	int created = connection_create(address_of(sk), role);

	if (created < 0)
		return NULL;
	*slot = created;
	return connection_at(created);
}

/* A new connection: from here on bytes have to go through calls that are seen. */
static __always_inline void begin_positions(struct connection *c, struct sock *sk)
{
	read_tcp(&c->tcp, sk);
	c->begin_ingress_seq = read_position(sk);
	c->begin_egress_seq = KERNEL_READ(struct tcp_sock, sk, write_seq);
}

/* The state has become CLOSE; a FIN that was sent counts as one in what was written. */
static __always_inline void end_positions(struct connection *c, struct sock *sk)
{
	__u32 fin = c->flags & CONNECTION_FIN_SENT ? 1 : 0;

	read_tcp(&c->tcp, sk);
	if (c->tcp.unsent_bytes)
		c->tcp.unsent_bytes -= fin;
	else if (c->tcp.unacked_bytes)
		c->tcp.unacked_bytes -= fin;
	c->end_ingress_seq = read_position(sk);
	c->end_egress_seq = KERNEL_READ(struct tcp_sock, sk, write_seq) - fin;
	c->flags |= CONNECTION_ENDED;
}

/* When the byte at `seq` arrived; 0 if that is not known. */
static __always_inline __u64 arrival_of(struct connection *c, __u32 seq)
{
	__u32 newest = (c->arrivals - 1) & (ARRIVALS_MAX - 1);
	__u32 before = (c->arrivals - 2) & (ARRIVALS_MAX - 1);

	/* Most often with the last packet, all of the one before having been read. */
	if (c->arrivals > 1 && (__s32)(c->arrival_end[newest] - seq) > 0 &&
	    (__s32)(c->arrival_end[before] - seq) <= 0)
		return c->arrival_ns[newest];
	for (__u32 i = 0; i < ARRIVALS_MAX; i++) {
		__u32 at = (c->arrivals + i) & (ARRIVALS_MAX - 1);

		if (c->arrival_ns[at] && (__s32)(c->arrival_end[at] - seq) > 0)
			return c->arrival_ns[at];
	}
	return 0;
}

/* How many of the bytes from `seq` on arrived with that one, at `ns` or right after it; 0: all that
 * have come. */
static __always_inline __u32 arrived_together(struct connection *c, __u32 seq, __u64 ns)
{
	__u32 together = 0;

	if (c->arrival_ns[(c->arrivals - 1) & (ARRIVALS_MAX - 1)] <= ns + TOGETHER_NS)
		return 0;
	for (__u32 i = 0; i < ARRIVALS_MAX; i++) {
		__u32 at = (c->arrivals + i) & (ARRIVALS_MAX - 1);

		if (!c->arrival_ns[at] || (__s32)(c->arrival_end[at] - seq) <= 0)
			continue;
		if (c->arrival_ns[at] > ns + TOGETHER_NS)
			break;
		together = c->arrival_end[at] - seq;
	}
	return together;
}

/* Of the lost edges, those towards the server: with each a request went. */
static __always_inline __u16 lost_requests(const struct connection *c, const struct event_lost *lost)
{
	return c->role == ROLE_CLIENT ? lost->edges_egress : lost->edges_ingress;
}

/* User space gets `lost` with a record: it knows what that means for a connection that
 * it knows. */
static __always_inline void note_told(struct connection *c, const struct event_lost *lost)
{
	if (c->flags & CONNECTION_ANNOUNCED)
		c->told_requests = lost_requests(c, lost);
}

/* `now` was read after the slot was taken: its last tenant's end, read before it was
 * freed, is then older. Records that follow from this one are not older. */
__noinline int connection_announce(__u32 slot, __u64 now)
{
	struct connection *c = connection_at(slot);
	struct connection_opened_event *e;

	if (!c)
		return 0;
	e = CONTROL_RECORD(connection_opened_event, EVENT_CONNECTION_OPENED, now);
	if (!e)
		return 0;
	e->created_ns = c->created_ns;
	e->connect_ns = c->connect_ns;
	e->established_ns = c->established_ns;
	e->accepted_ns = c->accepted_ns;
	e->address = c->address;
	e->cause = c->cause;
	e->tcp = c->tcp;
	e->slot = slot;
	e->generation = c->generation;
	e->pid = c->pid;
	e->tid = (__u32)bpf_get_current_pid_tgid();
	e->netns = c->netns;
	e->inode = c->inode;
	e->carrier_slot = c->carrier - 1;
	e->carrier_generation = c->carrier ? c->carrier_generation : 0;
	if (!(c->flags & CONNECTION_ANNOUNCED))
		count_stat(STAT_CONNECTIONS_OPENED, 1);
	c->flags |= CONNECTION_ANNOUNCED;
	e->role = c->role;
	e->flags = c->flags;
	e->include = c->include;
	e->exclude = c->exclude;
	e->path_bytes = c->flags & CONNECTION_UNIX ? read_path(e->path, (struct sock *)c->sk) : 0;
	control_submit(e);
	return 0;
}

#define SOCKET_END_FLAGS                                                                  \
	(CONNECTION_FIN_SENT | CONNECTION_FIN_RECEIVED | CONNECTION_RESET_SENT |          \
	 CONNECTION_RESET_RECEIVED)

/* A TLS session ends like the socket that carries it. */
static __always_inline void session_inherit(struct connection *s, struct connection *carrier)
{
	s->flags |= carrier->flags & SOCKET_END_FLAGS;
	s->error_number = carrier->error_number;
	s->fin_sent_ns = carrier->fin_sent_ns;
	s->fin_received_ns = carrier->fin_received_ns;
	s->reset_ns = carrier->reset_ns;
	s->tcp = carrier->tcp;
}

__noinline int state_record(__u32 slot, __u64 now)
{
	struct connection *c = connection_at(slot);
	struct connection_state_event *e;

	if (!c || !(c->flags & CONNECTION_ANNOUNCED))
		return 0;
	e = CONTROL_RECORD(connection_state_event, EVENT_CONNECTION_STATE, now);
	if (!e)
		return 0;
	e->prev = c->run;
	e->tcp = c->tcp;
	e->lost = c->lost;
	e->slot = slot;
	e->generation = c->generation;
	e->flags = c->flags;
	e->error_number = c->error_number;
	e->direction = c->direction;
	control_submit(e);
	note_told(c, &c->lost);
	return 0;
}

/* The TLS session that the socket of `slot` carries. */
static __always_inline struct connection *session_of(struct connection *c, __u32 slot)
{
	struct connection *s = c->session ? connection_at(c->session - 1) : NULL;

	return s && s->sk && s->carrier == slot + 1 && s->carrier_generation == c->generation ?
		       s :
		       NULL;
}

static __always_inline void connection_state_changed(__u32 slot, __u64 now)
{
	struct connection *c = connection_at(slot), *s;

	state_record(slot, now);
	s = c ? session_of(c, slot) : NULL;
	if (!s)
		return;
	session_inherit(s, c);
	state_record(c->session - 1, now);
}

static __always_inline void fill_closed(struct connection_closed_event *e, struct connection *c)
{
	e->fin_sent_ns = c->fin_sent_ns;
	e->fin_received_ns = c->fin_received_ns;
	e->reset_ns = c->reset_ns;
	e->first_read_ns = c->first_read_ns;
	e->last_read_ns = c->last_read_ns;
	e->first_write_ns = c->first_write_ns;
	e->last_write_ns = c->last_write_ns;
	e->bytes_ingress = c->bytes_ingress;
	e->bytes_egress = c->bytes_egress;
	e->prev_tail = c->tail;
	e->prev = c->run;
	e->tcp = c->tcp;
	e->lost = c->lost;
	/* An older connection of which no call was seen has no beginning to count from. */
	if (c->flags & CONNECTION_ENDED && (c->begin_ingress_seq || c->begin_egress_seq)) {
		e->unseen_ingress = unseen_bytes(c->begin_ingress_seq, c->end_ingress_seq,
						 c->bytes_ingress);
		e->unseen_egress = unseen_bytes(c->begin_egress_seq, c->end_egress_seq,
						c->bytes_egress);
	}
	e->frames_ingress = c->frames_ingress.count;
	e->frames_egress = c->frames_egress.count;
	e->frames_ingress_state = c->frames_ingress.state;
	e->frames_egress_state = c->frames_egress.state;
	e->calls_ingress = c->calls_ingress;
	e->calls_egress = c->calls_egress;
	e->generation = c->generation;
	e->flags = c->flags;
	e->error_number = c->error_number;
	e->direction = c->direction;
}

/* The library's object of the session in `slot` has none any more, unless it is the next. */
static __noinline void session_forget(struct connection *s, __u32 slot)
{
	struct session_key key = { .session = s->sk, .pid = s->pid };
	struct session_ref *ref = bpf_map_lookup_elem(&sessions, &key);

	if (ref && ref->slot == slot && ref->generation == s->generation)
		bpf_map_delete_elem(&sessions, &key);
}

/* The tenancy is over: says so and frees the slot. What was never announced is nobody's,
 * but for the requests that found no room in the ring. */
__noinline int connection_end(__u32 slot, __u32 generation, __u64 now)
{
	struct connection *c = connection_at(slot);
	struct connection_closed_event *e;
	__u16 untold;

	if (!c || !tenancy_take(c, slot, generation))
		return 0;
	if (c->flags & CONNECTION_ANNOUNCED) {
		e = CONTROL_RECORD(connection_closed_event, EVENT_CONNECTION_CLOSED, now);
		if (e) {
			fill_closed(e, c);
			e->slot = slot;
			control_submit(e);
			count_stat(STAT_CONNECTIONS_CLOSED, 1);
			note_told(c, &c->lost);
		}
	}
	if (c->flags & CONNECTION_TLS)
		session_forget(c, slot);
	untold = lost_requests(c, &c->lost) - c->told_requests;
	if (untold)
		count_losses(LOSS_REQUESTS_UNTOLD, untold);
	slot_free(slot);
	return 0;
}

/* The socket is gone, and with it the session that it carried. */
__noinline int connection_close(__u32 slot, __u32 generation, __u64 now)
{
	struct connection *c = connection_at(slot), *s;

	if (!c || c->generation != generation)
		return 0;
	s = session_of(c, slot);
	if (s) {
		session_inherit(s, c);
		connection_end(c->session - 1, s->generation, now);
	}
	connection_end(slot, generation, now);
	return 0;
}

struct failed_connect {
	struct event_address address;
	__u64 connect_ns;
	__u32 netns, pid;
	__u32 error_number;
};

static __noinline void connect_failed(struct failed_connect *f, __u64 now)
{
	struct connect_failed_event *e;

	e = CONTROL_RECORD(connect_failed_event, EVENT_CONNECT_FAILED, now);
	if (!e)
		return;
	e->connect_ns = f->connect_ns;
	e->address = f->address;
	e->pid = f->pid;
	e->netns = f->netns;
	e->error_number = f->error_number;
	control_submit(e);
}

#endif

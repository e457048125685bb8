/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TLS sessions as connections: a session has a slot of its own, its bytes are the
 * plaintext, its positions count from the initial sequence numbers of its socket
 * (so that both ends of a connection name a request alike), and the core treats it
 * like any other connection. Which socket carries it is known by evidence only: the
 * socket call nested in the library's call on the same thread, or the ciphertext
 * that the library made, seen again at a socket. A session without either has no
 * addresses.
 */
#ifndef UNDERSPAN_SESSION_H
#define UNDERSPAN_SESSION_H

#define TLS_HANDSHAKE_RECORD 22
#define TLS_APPLICATION_RECORD 23
#define TLS_HEADER_BYTES 5
/* Instead of a session: the one that the socket carries, whichever that is. */
#define SESSION_OF_SOCKET 0xffffffff
#define LOOKS_MAX 128 /* what a connection has to spend on the search for its session: */
#define LOOK_STRANGE 32 /* a write that is no TLS record, */
#define LOOK_UNKNOWN 1 /* one that is, of no known session */

struct output_key {
	__u64 digest; /* of the beginning of a record's ciphertext */
	__u32 pid;
	__u32 reserved;
};

/* Ciphertext that a library gave to its buffer, by which a socket's write shows whose
 * it is. Entries of bound sessions are of no more use and fall out. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct output_key);
	__type(value, struct session_ref);
} outputs SEC(".maps");

/* 1 + slot of the session in whose library call the thread is, 0 for none. Within a
 * call that is nested in another session's (TLS in TLS, a callback that makes
 * requests) nothing can be told. */
static __always_inline __u32 session_within(struct thread_state *thread)
{
	struct tls_call *call = &thread->tls;
	struct connection *s;

	if (!call->kind || call->nested_stack)
		return 0;
	if (call->session == SESSION_OF_SOCKET)
		return SESSION_OF_SOCKET;
	s = connection_at(call->session - 1);
	return s && s->generation == call->generation ? call->session : 0;
}

static __always_inline __u64 mix(__u64 digest, __u64 word)
{
	digest = (digest ^ word) * 0x9e3779b97f4a7c15ULL;
	return digest ^ digest >> 29;
}

/* The content type if a TLS record begins at `address`, else 0 (RFC 8446 section 5.1). */
static __always_inline __u32 record_type(__u64 address, __u32 length, __u8 *head)
{
	if (length < TLS_HEADER_BYTES || bpf_probe_read_user(head, TLS_HEADER_BYTES, (void *)address))
		return 0;
	return head[0] >= 20 && head[0] <= 24 && head[1] == 3 && head[2] <= 4 ? head[0] : 0;
}

#define HELLO_RETRY_RANDOM 0x1161e59a74ad21cfULL /* first bytes, RFC 8446 section 4.1.3 */

/* A digest of the first 16 or 64 bytes behind the header of the record at `address`,
 * 0 if there are fewer or if they are alike in every session. */
static __always_inline __u64 record_digest(__u64 address, __u32 length)
{
	__u64 first = 0, word = 0, digest = 1;
	__u8 head[8] = {};
	__u32 type = record_type(address, length, head), bytes = head[3] << 8 | head[4];
	__u32 want = bytes < 64 ? 16 : 64;

	if (type != TLS_HANDSHAKE_RECORD && type != TLS_APPLICATION_RECORD)
		return 0;
	if (bytes < 16 || length - TLS_HEADER_BYTES < want)
		return 0;
	address += TLS_HEADER_BYTES;
	/* Word by word: the stack is short here (test/unit/kernel/stack.test.ts). */
	for (__u32 i = 0; i < 8 && 8 * i < want; i++) {
		if (bpf_probe_read_user(&word, sizeof(word), (void *)(address + 8 * i)))
			return 0;
		/* ServerHello: type, length, version, then 32 bytes of random. */
		if (i == 1 && type == TLS_HANDSHAKE_RECORD && (first & 0xff) == 2 &&
		    (first >> 48 | word << 16) == HELLO_RETRY_RANDOM)
			return 0;
		first = i == 0 ? word : first;
		digest = mix(digest, word);
	}
	return digest;
}

static __always_inline struct connection *session_find(struct session_key *key, __u32 *slot)
{
	struct session_ref *ref = bpf_map_lookup_elem(&sessions, key);
	struct connection *s;

	if (!ref)
		return NULL;
	*slot = ref->slot;
	s = connection_at(ref->slot);
	return s && s->generation == ref->generation ? s : NULL;
}

/* A slot for a session whose socket is not known yet. */
static __noinline struct connection *session_create(struct session_key *key, __u32 *slot)
{
	__u32 zero = 0, generation, other_slot = 0;
	struct settings *settings_now = bpf_map_lookup_elem(&settings, &zero);
	struct session_ref ref;
	struct connection *s, *other;
	__u64 tenancy;

	if (!settings_now)
		return NULL;
	if (bpf_map_pop_elem(&free_slots, slot)) {
		count_loss(LOSS_SLOTS_EXHAUSTED);
		return NULL;
	}
	s = connection_at(*slot);
	if (!s)
		return NULL;
	generation = s->generation + 1;
	__builtin_memset(s, 0, sizeof(*s));
	s->generation = generation;
	s->flags = CONNECTION_TLS | CONNECTION_PREEXISTING | CONNECTION_PAIR_UNSURE;
	s->direction = DIRECTION_NONE;
	s->pid = key->pid;
	s->include = settings_now->any_include;
	s->exclude = settings_now->any_exclude;
	s->sk = key->session;
	ref.slot = *slot;
	ref.generation = generation;
	tenancy = tenancy_of(s, *slot, generation);
	if (bpf_map_update_elem(&sockets, &tenancy, slot, BPF_ANY)) {
		count_loss(LOSS_SOCKETS_FULL);
		slot_free(*slot);
		return NULL;
	}
	if (!bpf_map_update_elem(&sessions, key, &ref, BPF_NOEXIST))
		return s;
	/* Another thread was faster, or the end of the object's last session went unseen. */
	other = session_find(key, &other_slot);
	if (!other && !bpf_map_update_elem(&sessions, key, &ref, BPF_ANY))
		return s;
	if (!other)
		count_loss(LOSS_SESSIONS_FULL);
	connection_discard(s, *slot);
	*slot = other_slot;
	return other;
}

static __always_inline struct connection *carrier_of(struct connection *s)
{
	struct connection *carrier = s->carrier ? connection_at(s->carrier - 1) : NULL;

	return carrier && carrier->generation == s->carrier_generation ? carrier : NULL;
}

/* The library's object is gone, or carries something else from now on. */
static __always_inline void session_close(__u32 slot, __u32 generation, __u64 now)
{
	struct connection *s = connection_at(slot), *carrier;

	if (!s || s->generation != generation)
		return;
	carrier = carrier_of(s);
	if (carrier && carrier->session == slot + 1) {
		carrier->session = 0;
		session_inherit(s, carrier);
	}
	connection_end(slot, generation, now);
}

/* The socket of `slot` carries the session of `session_slot`. */
static __always_inline void session_describe(struct connection *s, struct connection *c, __u32 slot)
{
	s->carrier = slot + 1;
	s->carrier_generation = c->generation;
	s->created_ns = c->created_ns;
	s->connect_ns = c->connect_ns;
	s->established_ns = c->established_ns;
	s->accepted_ns = c->accepted_ns;
	s->asked_timers = c->asked_timers;
	s->address = c->address;
	s->include = c->include;
	s->exclude = c->exclude;
	s->inode = c->inode;
	s->netns = c->netns;
	s->pair_tag = c->pair_tag;
	s->role = c->role;
	s->tcp = c->tcp;
	s->begin_ingress_seq = s->begin_egress_seq = 0;
}

/* Names what an older session sends or takes when the direction changes. Its plaintext
 * was not counted from the handshake on; but then all that was written has been read,
 * and both ends know the position of the ciphertext. 0: they do not. */
static __always_inline void session_anchor(struct connection *s, struct io *io)
{
	struct connection *carrier = carrier_of(s);

	if (!carrier || carrier->flags & CONNECTION_UNIX)
		return;
	s->pair_tag = 0;
	if (s->direction == io->direction)
		return;
	/* A position is used once: what comes behind it in the same run has none. */
	if (io->direction == DIRECTION_INGRESS) {
		s->pair_tag = s->begin_ingress_seq;
		s->begin_ingress_seq = 0;
		return;
	}
	/* What has gone into a buffer is still to be written. */
	s->pair_tag = carrier->direction == DIRECTION_EGRESS ?
			      s->begin_egress_seq :
			      KERNEL_READ(struct tcp_sock, (struct sock *)carrier->sk, write_seq);
	s->begin_egress_seq = 0;
}

/* Binds by the call at hand, which moved the bytes of a record of type `type`. */
static __noinline void session_bind(__u32 slot, __u32 session_slot, struct io *io, __u32 type)
{
	struct connection *c = connection_at(slot), *s = connection_at(session_slot), *old;
	bool is_fresh;

	if (!c || !s)
		return;
	is_fresh = !s->calls_ingress && !s->calls_egress;
	old = session_of(c, slot);
	if (old && c->session != session_slot + 1) {
		if (old->sk == s->sk && is_fresh) {
			/* The same object after a fork: its plaintext goes on. */
			s->flags = (s->flags & ~(CONNECTION_PREEXISTING | CONNECTION_PAIR_UNSURE)) |
				   (old->flags & (CONNECTION_PREEXISTING | CONNECTION_PAIR_UNSURE));
			s->counted_ingress = old->counted_ingress;
			s->counted_egress = old->counted_egress;
			is_fresh = false;
		}
		session_close(c->session - 1, old->generation, io->now);
	}
	c->session = session_slot + 1;
	session_describe(s, c, slot);
	if (is_fresh && type == TLS_HANDSHAKE_RECORD && !(c->flags & CONNECTION_PREEXISTING)) {
		bool is_read = io->direction == DIRECTION_INGRESS;

		s->flags &= ~(CONNECTION_PREEXISTING | CONNECTION_PAIR_UNSURE);
		s->flags |= c->flags & CONNECTION_PAIR_UNSURE;
		s->counted_ingress = (is_read ? io->seq : io->other_seq) - (__u32)c->bytes_ingress;
		s->counted_egress = (is_read ? io->other_seq : io->seq) - (__u32)c->bytes_egress;
	}
	if (s->flags & CONNECTION_ANNOUNCED)
		connection_announce(session_slot, io->now);
}

/* The same library's object on another socket: another session. */
static __noinline __u32 session_renew(__u32 session_slot, struct io *io)
{
	struct connection *s = connection_at(session_slot);
	struct session_key key = { .pid = io->pid_tgid >> 32 };
	__u32 tid = io->pid_tgid, slot;
	struct thread_state *thread;

	if (!s)
		return 0;
	key.session = s->sk;
	session_close(session_slot, s->generation, io->now);
	s = session_create(&key, &slot);
	thread = thread_at(tid);
	if (!s || !thread)
		return 0;
	thread->tls.session = slot + 1;
	thread->tls.generation = s->generation;
	return slot + 1;
}

/* 1 + slot of the session that the socket of `slot` carries, for a library whose objects
 * do not stay where they are (bpf/tls_rust.bpf.c); made with the first record. The call
 * that the thread is in is of that session from now on. 0: there is none. */
static __noinline __u32 session_of_socket(__u32 slot, __u32 type, __u64 pid_tgid)
{
	struct connection *c = connection_at(slot), *s;
	struct session_key key = { .pid = pid_tgid >> 32 };
	__u32 tid = pid_tgid, session_slot;
	struct thread_state *thread = thread_at(tid);

	if (!c || !thread)
		return 0;
	s = session_of(c, slot);
	session_slot = c->session - 1;
	if (!s) {
		if (!type)
			return 0;
		key.session = c->sk;
		s = session_create(&key, &session_slot);
		if (!s)
			return 0;
	}
	thread->tls.session = session_slot + 1;
	thread->tls.generation = s->generation;
	return session_slot + 1;
}

/* The first question of every call: does it concern a session? */
static __always_inline bool may_carry_session(struct io *io, struct connection *c)
{
	if (c->flags & CONNECTION_TLS)
		return false;
	return io->session || c->session ||
	       (io->direction == DIRECTION_EGRESS && c->looks < LOOKS_MAX);
}

/* 1 + slot of the session that made the ciphertext at `address` and that no socket
 * carries yet, 0 for none. */
static __noinline __u32 session_by_output(__u64 address, __u32 length, __u32 pid)
{
	struct output_key key = { .pid = pid };
	struct session_ref *output;
	struct connection *s;
	__u32 slot;

	key.digest = record_digest(address, length);
	output = key.digest ? bpf_map_lookup_elem(&outputs, &key) : NULL;
	if (!output)
		return 0;
	slot = output->slot;
	s = connection_at(slot);
	if (!s || s->generation != output->generation)
		return 0;
	bpf_map_delete_elem(&outputs, &key);
	return carrier_of(s) ? 0 : slot + 1;
}

/* A socket moved bytes within a library's call, or for a session, or may do so: the
 * call at hand, on the connection of `slot`. */
__noinline int session_carried(__u32 slot, __u32 lane)
{
	struct capture_scratch *scratch = scratch_at(lane);
	struct connection *c = connection_at(slot), *s;
	struct user_iovec iov = {};
	__u32 type, session, length;
	__u64 address;
	struct io *io;
	__u8 head[8];

	if (!scratch || !c)
		return 0;
	io = &scratch->io;
	address = io->buffer;
	length = io->bytes;
	if (io->buffer_kind == BUFFER_IOVEC || io->buffer_kind == BUFFER_KERNEL_IOVEC) {
		if (read_iovec(io, 0, &iov) || iov.length < io->skip)
			return 0;
		address = iov.base + io->skip;
		if (length > iov.length - io->skip)
			length = iov.length - io->skip;
	} else if (io->buffer_kind != BUFFER_PLAIN) {
		return 0;
	}
	type = record_type(address, length, head);
	if (!session_of(c, slot))
		c->session = 0; /* user space has taken its slot back */
	session = io->session ? io->session : c->session;
	if (session == SESSION_OF_SOCKET) {
		session = session_of_socket(slot, type, io->pid_tgid);
		if (!session)
			return 0;
	}
	if (!session) {
		if (!type) {
			c->looks += LOOK_STRANGE;
			return 0;
		}
		session = session_by_output(address, length, io->pid_tgid >> 32);
		if (!session) {
			c->looks += LOOK_UNKNOWN;
			return 0;
		}
		session_bind(slot, session - 1, io, type);
	}
	s = connection_at(session - 1);
	if (!s || !(s->flags & CONNECTION_TLS))
		return 0;
	if (c->session != session || s->carrier != slot + 1 || s->carrier_generation != c->generation) {
		if (!type)
			return 0;
		if (carrier_of(s)) {
			session = session_renew(session - 1, io);
			s = session ? connection_at(session - 1) : NULL;
			if (!s)
				return 0;
		}
		session_bind(slot, session - 1, io, type);
	}
	if (c->direction != io->direction) {
		if (io->direction == DIRECTION_INGRESS)
			s->begin_ingress_seq = io->seq;
		else
			s->begin_egress_seq = io->seq;
	}
	if (io->direction == DIRECTION_INGRESS && type) {
		__u64 arrived = c->flags & CONNECTION_UNIX ? c->arrived_ns : arrival_of(c, io->seq);

		s->arrived_ns = arrived ? arrived : io->now;
	}
	return 0;
}

#endif

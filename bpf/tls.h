/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The calls of TLS libraries, whatever the library: entered, left, bytes moved, object
 * gone. The probes of a library (tls_*.bpf.c) read the arguments and call these. They
 * run in probes of user space, which can be preempted: hence the lanes.
 */
#ifndef UNDERSPAN_TLS_H
#define UNDERSPAN_TLS_H

enum tls_call_kind {
	TLS_CALL_NONE = 0,
	TLS_CALL_HANDSHAKE = 1, /* moves no plaintext */
	TLS_CALL_READ = 2,
	TLS_CALL_WRITE = 3,
	TLS_CALL_CARRY = 4, /* moves records between the library and a socket */
};

/* One call, as a library's probe hands it over. */
struct tls_args {
	__u64 session; /* address of the library's object */
	__u64 buffer;
	__u64 size_at; /* where the library puts the number of bytes; 0: it returns it */
	__u64 stack; /* pointer at the entry */
	__u32 kind; /* enum tls_call_kind */
};

/* Calls that go on around another one of their own session, by thread id. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct tls_call);
} outer_calls SEC(".maps");

/* A program that is told of the end of a handshake, from within the library, may write
 * there and then (Node.js). A library that calls its own functions does it otherwise:
 * a write writes, a read reads. */
static __always_inline bool is_reentrant(__u32 outer, __u32 inner)
{
	return inner == TLS_CALL_WRITE ? outer != TLS_CALL_WRITE :
					 inner == TLS_CALL_READ && outer == TLS_CALL_HANDSHAKE;
}

/* The one within has ended: on with the one around it. */
static __always_inline void tls_resume(struct tls_call *call, __u32 tid)
{
	struct tls_call *outer = bpf_map_lookup_elem(&outer_calls, &tid);

	call->is_inner = 0;
	if (!outer)
		return;
	__builtin_memcpy(call, outer, sizeof(*call));
	bpf_map_delete_elem(&outer_calls, &tid);
}

static __noinline void tls_entered(struct tls_args *args)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct session_key key = { .session = args->session, .pid = pid_tgid >> 32 };
	struct connection *s;
	struct tls_call *call;
	bool is_inner = false;
	__u32 slot, tid = pid_tgid;

	if (!thread || !args->session)
		return;
	call = &thread->tls;
	/* Within another call, unless that one's frame is gone: its return was missed. */
	if (call->kind && args->stack < call->stack) {
		s = connection_at(call->session - 1);
		if (call->nested_stack || !s)
			return;
		if (s->sk != args->session) {
			call->nested_stack = args->stack;
			return;
		}
		if (call->is_inner || !is_reentrant(call->kind, args->kind) ||
		    bpf_map_update_elem(&outer_calls, &tid, call, BPF_ANY))
			return;
		is_inner = true;
	}
	call->kind = 0;
	call->is_inner = is_inner;
	call->nested_stack = 0;
	s = session_find(&key, &slot);
	if (!s)
		s = session_create(&key, &slot);
	if (!s)
		return;
	call->session = slot + 1;
	call->generation = s->generation;
	call->buffer = args->buffer;
	call->size_at = args->size_at;
	call->stack = args->stack;
	call->enter_ns = bpf_ktime_get_boot_ns();
	call->kind = args->kind;
}

/* The call at hand as the core wants it, in a lane of its own: 0 if there is none. */
static __always_inline __u32 tls_lane(struct thread_state *thread, struct tls_call *call,
				      struct connection *s, __u32 bytes, __u64 now)
{
	bool is_write = call->kind == TLS_CALL_WRITE;
	struct capture_scratch *scratch;
	__u32 lane = lane_take();
	struct io *io;

	scratch = lane ? scratch_at(lane) : NULL;
	if (!scratch)
		return 0;
	io = &scratch->io;
	io->now = now;
	io->slot = call->session - 1;
	io->session = 0;
	io->buffer_kind = !call->buffer ? BUFFER_NONE : call->iov_count ? BUFFER_IOVEC : BUFFER_PLAIN;
	io->buffer = call->buffer;
	io->iov_count = call->iov_count;
	io->skip = 0;
	io->together = 0;
	io->pid_tgid = bpf_get_current_pid_tgid();
	io->bytes = bytes;
	io->direction = is_write ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	io->enter_ns = is_write ? call->enter_ns : 0;
	cause_of_write(thread, s, &io->cause, &io->request);
	if (is_write)
		cause_asks(thread, s);
	if (call->counted) {
		io->seq = call->seq;
		io->other_seq = call->other_seq;
		s->counted_egress += bytes - call->counted;
	} else {
		count_positions(io, s);
	}
	if (bytes && s->flags & CONNECTION_PAIR_UNSURE)
		session_anchor(s, io);
	return lane;
}

/* The same where no lane is free: the bytes have their place in the session all the same. */
static __always_inline void tls_unrecorded(struct tls_call *call, struct connection *s,
					   __u32 bytes, __u64 now)
{
	if (call->kind == TLS_CALL_WRITE) {
		s->counted_egress += bytes - call->counted;
		call_unrecorded(s, bytes, DIRECTION_EGRESS, s->counted_egress, now);
	} else {
		s->counted_ingress += bytes;
		call_unrecorded(s, bytes, DIRECTION_INGRESS, s->counted_ingress, now);
	}
}

/* The peer has finished sending. */
static __noinline void tls_ended(struct thread_state *thread, __u64 now)
{
	__u32 slot = thread->tls.session - 1, lane;
	struct connection *s = connection_at(slot);

	if (!s || s->generation != thread->tls.generation || !(s->flags & CONNECTION_ANNOUNCED))
		return;
	lane = tls_lane(thread, &thread->tls, s, 0, now);
	if (!lane)
		return;
	socket_ended(slot, 0, lane);
	lane_give(lane);
}

/* `bytes` of plaintext went through the session of `call`. */
static __noinline void tls_moved(struct thread_state *thread, struct tls_call *call, __u32 bytes,
				 __u64 now)
{
	__u32 slot = call->session - 1, lane;
	struct connection *s = connection_at(slot);

	if (!s || s->generation != call->generation || !is_selected(s, thread))
		return;
	if (!(s->flags & CONNECTION_ANNOUNCED)) {
		now = bpf_ktime_get_boot_ns();
		connection_announce(slot, now);
	}
	lane = tls_lane(thread, call, s, bytes, now);
	if (!lane) {
		tls_unrecorded(call, s, bytes, now);
		return;
	}
	socket_transferred(slot, lane);
	if (s->is_upgraded)
		frames_moved(slot, lane);
	if (call->kind == TLS_CALL_READ)
		cause_taken(thread, s, slot, s->counted_ingress, 0);
	lane_give(lane);
}

/* The call returned `result`, with the stack pointer as it was at the entry, but for
 * the return address where that lies on the stack. */
static __noinline void tls_left(__s64 result, __u64 stack)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	__u64 bytes = result;
	struct tls_call *call;

	if (!thread || !thread->tls.kind)
		return;
	call = &thread->tls;
	if (call->nested_stack && stack - call->nested_stack <= sizeof(__u64)) {
		call->nested_stack = 0;
		return;
	}
	if (stack - call->stack > sizeof(__u64) && call->is_inner)
		tls_resume(call, pid_tgid); /* the return of the one within was missed */
	if (stack - call->stack > sizeof(__u64))
		return;
	/* An _ex function returns 0 for whatever went wrong. */
	if (!result && call->kind == TLS_CALL_READ && !call->size_at)
		tls_ended(thread, bpf_ktime_get_boot_ns());
	if (result > 0 && call->kind != TLS_CALL_HANDSHAKE) {
		if (call->size_at &&
		    bpf_probe_read_user(&bytes, sizeof(bytes), (void *)call->size_at)) {
			count_loss(LOSS_READ_FAULT);
			bytes = 0;
		}
		if (bytes && bytes <= 0x7fffffff)
			tls_moved(thread, call, bytes, bpf_ktime_get_boot_ns());
	}
	call->kind = 0;
	call->nested_stack = 0;
	if (call->is_inner)
		tls_resume(call, pid_tgid);
}

/* The library made ciphertext of `length` bytes and gave it to its buffer. */
static __noinline void tls_output(__u64 address, __u32 length)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	__u32 session = thread ? session_within(thread) : 0;
	struct output_key key = { .pid = pid_tgid >> 32 };
	struct session_ref ref;
	struct connection *s;

	if (!session)
		return;
	s = connection_at(session - 1);
	if (!s || carrier_of(s))
		return;
	key.digest = record_digest(address, length);
	if (!key.digest)
		return;
	ref.slot = session - 1;
	ref.generation = s->generation;
	if (bpf_map_update_elem(&outputs, &key, &ref, BPF_ANY))
		count_loss(LOSS_SESSIONS_FULL);
}

/* The library's object is let go of, or made as new. */
static __noinline void tls_freed(__u64 session)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct session_key key = { .session = session, .pid = pid_tgid >> 32 };
	struct thread_state *thread = thread_selected(pid_tgid);
	struct session_ref *found, ref;

	/* Within a call of its own an object is reset before its first handshake. */
	if (!thread || thread->tls.kind)
		return;
	found = bpf_map_lookup_elem(&sessions, &key);
	if (!found)
		return;
	ref = *found;
	session_close(ref.slot, ref.generation, bpf_ktime_get_boot_ns());
	bpf_map_delete_elem(&sessions, &key);
}

#endif

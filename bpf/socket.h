/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The core that every front end calls: a connection was opened, bytes went
 * through it, it failed. A connection alternates between directions; the calls
 * between two changes are a run. The first call of a run emits a record that also
 * describes the run before; the calls after it emit one only while there is head
 * left to capture, and update counters otherwise.
 */
#ifndef UNDERSPAN_SOCKET_H
#define UNDERSPAN_SOCKET_H

#define ROUND_BYTES (4 * EVENT_CHUNK_MAX)
#define PIPELINE_ROUNDS 4 /* of a call on a connection that pipelines */
#define CALL_BYTES_MAX (PIPELINE_ROUNDS * ROUND_BYTES)
#define PIPELINE_HEADS 4 /* times head_bytes is captured of a run that may be a pipeline */

static __always_inline __u32 head_bytes(void)
{
	__u32 zero = 0;
	struct settings *s = bpf_map_lookup_elem(&settings, &zero);

	return s ? s->head_bytes : 0;
}

/* Of a run in which requests may follow each other: no head is nearly as long. */
static __always_inline __u32 pipeline_bytes(__u32 head)
{
	__u32 some = PIPELINE_HEADS * head;

	return PIPELINE_ROUNDS * (some < ROUND_BYTES ? some : ROUND_BYTES);
}

/* Calls of a run that begin with a request that has no body. */
enum run_bodyless {
	BODYLESS_NONE = 0,
	BODYLESS_ONE = 1, /* what follows it in the call, if anything does, was not captured */
	BODYLESS_MANY = 2, /* another one follows it in the call or in the run */
};

/* Of the answer to a run of requests without bodies, which had `asked` bytes. */
static __always_inline __u32 answer_bytes(__u8 bodyless, __u64 asked, __u32 head)
{
	__u32 pipeline = pipeline_bytes(head);

	if (bodyless == BODYLESS_MANY)
		return pipeline;
	if (bodyless == BODYLESS_NONE || asked <= head)
		return head;
	return asked <= pipeline / PIPELINE_ROUNDS ? pipeline / PIPELINE_ROUNDS : pipeline;
}

static __always_inline void fill_event(struct data_event *e, struct io *io, struct connection *c)
{
	fill_header(&e->header, EVENT_DATA, 0, io->now);
	e->enter_ns = io->enter_ns;
	e->arrived_ns = 0;
	__builtin_memset(&e->prev, 0, sizeof(e->prev));
	e->prev_tail = c->tail;
	e->cause = io->cause;
	e->request = io->request;
	e->tcp = c->tcp;
	e->lost = c->lost;
	e->slot = io->slot;
	e->generation = c->generation;
	e->seq = io->seq;
	e->other_seq = io->other_seq;
	e->call_bytes = io->bytes;
	e->pid = io->pid_tgid >> 32;
	e->tid = (__u32)io->pid_tgid;
	e->pair_tag = c->pair_tag;
	e->run_calls = c->run.calls;
	e->error_number = 0;
	e->direction = io->direction;
	e->flags = 0;
	e->run_direction = c->direction;
	e->reserved[0] = e->reserved[1] = e->reserved[2] = 0;
	e->chunk_bytes = 0;
}

static __always_inline void count_lost(struct connection *c, struct data_event *e)
{
	count_loss(LOSS_DATA_RING_FULL);
	c->lost.records++;
	if (!(e->flags & DATA_EDGE))
		return;
	if (e->direction == DIRECTION_INGRESS)
		c->lost.edges_ingress++;
	else
		c->lost.edges_egress++;
}

static __always_inline void emit(struct capture_scratch *scratch, struct connection *c)
{
	__u32 payload = scratch->event.chunk_bytes;
	struct counters *counters;

	if (payload > EVENT_CHUNK_MAX)
		payload = EVENT_CHUNK_MAX;
	scratch->event.header.size = sizeof(struct data_event) + payload;
	if (bpf_ringbuf_output(&data_ring, &scratch->event,
			       sizeof(struct data_event) + bounded(payload), BPF_RB_NO_WAKEUP)) {
		count_lost(c, &scratch->event);
		return;
	}
	note_told(c, &scratch->event.lost);
	counters = counters_here();
	if (!counters)
		return;
	counters->stats[STAT_DATA_RECORDS]++;
	counters->stats[STAT_DATA_BYTES] += payload;
}

/* A server that answers before it has read the whole request reads the rest of the
 * body afterwards, and the next request with it, wherever that begins: without each
 * call of such a run its beginning would not be seen. */
static __always_inline bool is_streamed(struct connection *c)
{
	return c->verdict == VERDICT_STREAM || (c->is_amid_body && c->verdict == VERDICT_HEAD);
}

static __always_inline bool may_be_answer(const struct connection *c, __u8 direction)
{
	return c->role == ROLE_UNKNOWN ||
	       (direction == DIRECTION_INGRESS) == (c->role == ROLE_CLIENT);
}

/* Less than that, and it may become one. */
static __always_inline bool is_upgrade(const __u8 *payload, __u32 bytes)
{
	if (bytes < UPGRADE_LINE_BYTES)
		return bytes && payload[0] == 'H';
	return *(const __u64 *)payload == HTTP_1_1 && *(const __u32 *)(payload + 8) == CODE_101;
}

#define METHOD_GET 0x20544547U /* "GET " in wire order */
#define METHOD_HEAD 0x44414548U

/* A request without a body: what follows it in the same call can only be its own long
 * head, or further requests, of which user space has to see where they begin. */
static __always_inline bool begins_bodyless(const __u8 *payload)
{
	__u32 first = *(const __u32 *)payload;

	return first == METHOD_GET || first == METHOD_HEAD;
}

#define HEAD_END 0x0a0d0a0dU /* an empty line behind a line */
#define HEAD_SCAN_MAX 2048
#define HEAD_SCAN_STEP 4 /* an end of a head has an octet at each multiple of it */
#define HEAD_SCAN_PIECE 256

/* Where the first head ends whose end has an octet in the HEAD_SCAN_PIECE bytes from `from` on; 0 if none
 * does. So few in a function of its own, for the verifier: it walks this once, not once for each
 * place that is looked at. */
__noinline int end_of_head(__u32 lane, __u32 from, __u32 bytes)
{
	struct capture_scratch *scratch = scratch_at(lane);

	if (!scratch || from < HEAD_SCAN_STEP)
		return 0;
	for (__u32 i = 0; i < HEAD_SCAN_PIECE; i += HEAD_SCAN_STEP) {
		__u64 at = from + i;
		const __u8 *here;

		if (at >= bytes)
			return 0;
		/* Before 7 a verifier forgets what a comparison said of another register's value, and that of
		 * 7 what it knew of a counter once it has walked a loop some times. */
		asm volatile("%0 &= %1" : "+r"(at) : "i"(2 * HEAD_SCAN_MAX - 1));
		here = &scratch->payload[at];
		if ((__u8)(*here - '\n') > '\r' - '\n')
			continue;
		if (here[2] != *here && here[-2] != *here)
			continue; /* one end of a line, as each has */
#pragma unroll
		for (int before = HEAD_SCAN_STEP - 1; before >= 0; before--)
			if (*(const __u32 *)(here - before) == HEAD_END)
				return from + i - before + sizeof(HEAD_END);
	}
	return 0;
}

/* Does a call of `all` bytes go on behind the first end of a head? Looked for in the first
 * HEAD_SCAN_MAX of the `bytes` that have been captured of it. */
__noinline int holds_more(__u32 lane, __u32 bytes, __u32 all)
{
	for (__u32 at = HEAD_SCAN_STEP; at < HEAD_SCAN_MAX; at += HEAD_SCAN_PIECE) {
		__u32 end;

		if (at >= bytes)
			return 0;
		end = end_of_head(lane, at, bytes);
		if (end)
			return end < all;
	}
	return 0;
}

/* `got` bytes of a run have been captured, of a call that has `all` from there on: do requests
 * without bodies follow each other? One whose head goes on from before may be followed by others,
 * too. */
static __always_inline void note_bodyless(struct connection *c, const __u8 *payload, __u32 got,
					  __u32 all, __u32 lane)
{
	bool begins, more;

	if (got < 4)
		return;
	begins = begins_bodyless(payload);
	if (!begins && c->bodyless != BODYLESS_ONE)
		return;
	more = (begins && c->bodyless) || holds_more(lane, got, all);
	if (!begins && !more)
		return;
	c->bodyless = more ? BODYLESS_MANY : BODYLESS_ONE;
	if (!is_streamed(c))
		c->capture_left = pipeline_bytes(head_bytes());
}

/* Does the run that begins with `got` bytes go on with a body? Only one that a server reads
 * can: of a client's, the parser knows where the next answer begins. */
static __always_inline bool begins_amid_body(struct connection *c, struct io *io,
					     const __u8 *payload, __u32 got)
{
	return io->direction == DIRECTION_INGRESS && c->role != ROLE_CLIENT && !c->is_upgraded &&
	       c->bytes_ingress > io->bytes &&
	       !(got >= MESSAGE_BYTES_MIN && is_message_start(*(const __u64 *)payload));
}

static __always_inline __u32 capture_limit(struct connection *c, struct io *io)
{
	__u32 limit = c->capture_left;

	if (is_streamed(c))
		limit = c->verdict == VERDICT_STREAM ? PIPELINE_ROUNDS * ROUND_BYTES : ROUND_BYTES;

	return limit < io->bytes ? limit : io->bytes;
}

static __always_inline int finish_call(struct connection *c, __u32 captured)
{
	c->capture_left = c->capture_left > captured ? c->capture_left - captured : 0;
	return 0;
}

/* Emits a record of the call at hand, from byte `offset` on. The event has been filled.
 * Returns where the next record begins, 0 if there is none. */
__noinline int emit_chunk(__u32 slot, __u32 lane, __u32 offset)
{
	struct capture_scratch *scratch = scratch_at(lane);
	struct connection *c = connection_at(slot);
	struct data_event *e;
	__u32 left, want, got;
	struct io *io;
	bool more;

	if (!scratch || !c)
		return 0;
	e = &scratch->event;
	io = &scratch->io;
	left = capture_limit(c, io);
	want = left > offset ? left - offset : 0;
	if (want > EVENT_CHUNK_MAX)
		want = EVENT_CHUNK_MAX;
	if (io->together && offset) {
		e->arrived_ns = arrival_of(c, io->seq + offset);
		io->together = arrived_together(c, io->seq + offset, e->arrived_ns);
	}
	if (io->together && want > io->together)
		want = io->together;
	got = want ? copy_user(scratch, io, offset, want, lane) : 0;
	e->seq = io->seq + offset;
	e->call_bytes = io->bytes - offset;
	e->chunk_bytes = got;
	if (offset)
		e->flags = 0;
	if (!got)
		e->flags |= DATA_NO_CONTENT;
	if (got < e->call_bytes)
		e->flags |= DATA_TRUNCATED;
	if (!offset) {
		if (e->flags & DATA_EDGE) {
			if (is_upgrade(scratch->payload, got) && may_be_answer(c, io->direction))
				c->is_upgraded = 1;
			c->is_amid_body = begins_amid_body(c, io, scratch->payload, got);
		}
	}
	if (!offset || c->bodyless)
		note_bodyless(c, scratch->payload, got, e->call_bytes, lane);
	left = capture_limit(c, io);
	offset += got;
	more = offset < left && want && got == want && offset < CALL_BYTES_MAX;
	if (more)
		e->flags |= DATA_MORE;
	emit(scratch, c);
	return more ? offset : finish_call(c, offset);
}

static __always_inline void emit_call(__u32 slot, __u32 lane)
{
	__u32 offset = 0;

	/* As a loop, older kernels refuse it: see test/unit/kernel/loops.test.ts. */
#pragma unroll
	for (int chunk = 0; chunk < CALL_BYTES_MAX / EVENT_CHUNK_MAX + ARRIVALS_MAX; chunk++) {
		offset = emit_chunk(slot, lane, offset);
		if (!offset)
			break;
	}
}

/* When what the call at hand has read had arrived. */
static __always_inline void note_arrived(struct capture_scratch *scratch, struct connection *c)
{
	struct io *io = &scratch->io;

	if (c->flags & (CONNECTION_UNIX | CONNECTION_TLS)) {
		scratch->event.arrived_ns = c->arrived_ns;
		return;
	}
	scratch->event.arrived_ns = arrival_of(c, io->seq);
	if (scratch->event.arrived_ns)
		io->together = arrived_together(c, io->seq, scratch->event.arrived_ns);
}

/* Bytes went through a socket: the call at hand, on the connection of `slot`. */
__noinline int socket_transferred(__u32 slot, __u32 lane)
{
	struct capture_scratch *scratch = scratch_at(lane);
	struct connection *c = connection_at(slot);
	struct counters *counters = counters_here();
	struct io *io;
	bool edge;

	if (!c || !scratch || !counters)
		return 0;
	io = &scratch->io;
	edge = c->direction != io->direction;
	fill_event(&scratch->event, io, c);
	if (io->direction == DIRECTION_INGRESS) {
		note_arrived(scratch, c);
		c->last_read_ns = io->now;
		if (!c->first_read_ns)
			c->first_read_ns = io->now;
		c->bytes_ingress += io->bytes;
		c->calls_ingress++;
		counters->stats[STAT_BYTES_INGRESS] += io->bytes;
	} else {
		c->last_write_ns = io->now;
		if (!c->first_write_ns)
			c->first_write_ns = io->enter_ns;
		c->bytes_egress += io->bytes;
		c->calls_egress++;
		counters->stats[STAT_BYTES_EGRESS] += io->bytes;
	}
	counters->stats[STAT_CALLS]++;
	counters->stats[STAT_EDGES] += edge;
	if (edge) {
		scratch->event.prev = c->run;
		scratch->event.flags = DATA_EDGE;
		/* To a pipeline come as many answers. */
		c->capture_left = answer_bytes(c->bodyless, c->run.bytes, head_bytes());
		if (c->verdict == VERDICT_EDGES)
			c->capture_left = 0;
		c->bodyless = BODYLESS_NONE;
		c->run.first_ns = io->direction == DIRECTION_EGRESS ? io->enter_ns : io->now;
		c->run.bytes = 0;
		c->run.calls = 0;
		c->tail = 0;
		c->direction = io->direction;
		c->is_amid_body = 0;
	}
	c->run.last_ns = io->now; /* first: who reads the run meanwhile sees that it is not settled */
	c->run.calls++;
	c->run.bytes += io->bytes;
	c->run.end_seq = io->seq + io->bytes;
	scratch->event.run_calls = c->run.calls;
	if (c->verdict == VERDICT_IGNORE || (c->verdict == VERDICT_EDGES && !edge))
		return 0;
	/* Until user space has seen that it is one: what follows may be requests. */
	if (c->is_upgraded && c->verdict == VERDICT_HEAD)
		c->capture_left = head_bytes();
	if (!edge && c->capture_left < io->bytes && c->capture_left < head_bytes() &&
	    !is_streamed(c) && begins_message(lane))
		c->capture_left = head_bytes();
	if (edge || c->capture_left || is_streamed(c))
		emit_call(slot, lane);
	if (!c->capture_left || is_streamed(c))
		c->tail = read_tail(c->tail, lane);
	return 0;
}

/* The same of a socket, which may carry a TLS session. Not within socket_transferred: the
 * stacks of all functions that are under way have 512 bytes together. */
static __always_inline void socket_moved(__u32 slot, __u32 lane, struct io *io,
					 struct connection *c)
{
	if (may_carry_session(io, c))
		session_carried(slot, lane);
	socket_transferred(slot, lane);
	if (c->is_upgraded)
		frames_moved(slot, lane);
}

static __always_inline void emit_end(struct capture_scratch *scratch, struct connection *c,
				     __u32 error_number)
{
	fill_event(&scratch->event, &scratch->io, c);
	scratch->event.error_number = error_number;
	scratch->event.flags = error_number ? DATA_ERROR : DATA_EOF;
	scratch->event.prev = c->run;
	emit(scratch, c);
}

/* A call ended without bytes: end of stream, or an error that ends something. It ends
 * a TLS session too, whose library need not say so. */
__noinline int socket_ended(__u32 slot, __u32 error_number, __u32 lane)
{
	struct capture_scratch *scratch = scratch_at(lane);
	struct connection *c = connection_at(slot), *s;

	if (!c || !scratch)
		return 0;
	if (c->verdict != VERDICT_IGNORE)
		emit_end(scratch, c, error_number);
	s = session_of(c, slot);
	/* A goodbye that can no longer be written says nothing of the messages. */
	if (s && error_number && scratch->io.direction == DIRECTION_EGRESS &&
	    s->direction != DIRECTION_EGRESS)
		return 0;
	if (s && s->flags & CONNECTION_ANNOUNCED) {
		scratch->io.slot = c->session - 1;
		scratch->io.seq = s->counted_ingress;
		scratch->io.other_seq = s->counted_egress;
		emit_end(scratch, s, error_number);
	}
	return 0;
}

/* Positions of a connection whose bytes nobody else numbers. */
static __always_inline void count_positions(struct io *io, struct connection *c)
{
	if (io->direction == DIRECTION_INGRESS) {
		io->seq = c->counted_ingress;
		io->other_seq = c->counted_egress;
		c->counted_ingress += io->bytes;
	} else {
		io->seq = c->counted_egress;
		io->other_seq = c->counted_ingress;
		c->counted_egress += io->bytes;
	}
}

/* A call of `bytes` up to `end_seq` of which no record can be made: no lane is free. What
 * they belong to is lost. */
static __noinline void call_unrecorded(struct connection *c, __u32 bytes, __u8 direction,
				       __u32 end_seq, __u64 now)
{
	c->lost.records++;
	if (direction == DIRECTION_INGRESS) {
		c->bytes_ingress += bytes;
		c->calls_ingress++;
	} else {
		c->bytes_egress += bytes;
		c->calls_egress++;
	}
	if (c->direction != direction) {
		if (direction == DIRECTION_INGRESS)
			c->lost.edges_ingress++;
		else
			c->lost.edges_egress++;
		c->direction = direction;
		c->run.first_ns = now;
		c->run.bytes = 0;
		c->run.calls = 0;
	}
	c->run.bytes += bytes;
	c->run.calls++;
	c->run.last_ns = now;
	c->run.end_seq = end_seq;
	c->tail = 0;
	c->capture_left = 0;
}

/* What the socket's own counters say after a call of `bytes` in `direction`. */
static __always_inline void read_positions(struct io *io, struct connection *c, struct sock *sk)
{
	__u32 write_seq, copied_seq;

	if (c->flags & CONNECTION_UNIX) {
		count_positions(io, c);
		return;
	}
	write_seq = KERNEL_READ(struct tcp_sock, sk, write_seq);
	copied_seq = read_position(sk);
	/* Reads behind an edge that have no record send nothing that would change these; but what was
	 * sent before may have been sent again. */
	if (io->direction == DIRECTION_EGRESS || c->direction != DIRECTION_INGRESS ||
	    c->capture_left || is_streamed(c))
		read_tcp(&c->tcp, sk);
	else
		c->tcp.total_retrans = KERNEL_READ(struct tcp_sock, sk, total_retrans);
	if (io->direction == DIRECTION_INGRESS) {
		io->seq = copied_seq - io->bytes;
		io->other_seq = write_seq;
	} else {
		io->seq = write_seq - io->bytes;
		io->other_seq = copied_seq;
	}
	if (c->direction == DIRECTION_NONE && c->flags & CONNECTION_PREEXISTING &&
	    !c->established_ns) {
		c->begin_ingress_seq = io->direction == DIRECTION_INGRESS ? io->seq : io->other_seq;
		c->begin_egress_seq = io->direction == DIRECTION_EGRESS ? io->seq : io->other_seq;
	}
}

/* After the record: is a unix socket's receive queue empty again? */
static __always_inline void note_queue(struct io *io, struct connection *c, struct sock *sk)
{
	if (io->direction == DIRECTION_INGRESS && c->flags & CONNECTION_UNIX)
		c->arrived_ns = KERNEL_READ(struct sock, sk, sk_receive_queue.qlen) ? c->ready_ns : 0;
}

#endif

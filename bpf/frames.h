/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Frames of a WebSocket (RFC 6455 section 5.2), counted as their bytes go through: of
 * each only the header is read, wherever it lies in the buffers of a call. A connection
 * gets here once an answer begins like a 101, and pays for nothing before; whether it is
 * a WebSocket at all is for user space to say. Where a header cannot be read, nothing
 * behind it can be told apart: then there is no number.
 *
 *   frame   FIN:1 RSV:3 opcode:4 | MASK:1 length:7 | (126: length:16, 127: length:64) |
 *           (MASK: key:32) | payload
 */
#ifndef UNDERSPAN_FRAMES_H
#define UNDERSPAN_FRAMES_H

#define FRAME_STEPS 512 /* stretches of a call that are looked at, */
#define FRAME_ROUNDS 16 /* so many times */
#define FRAME_HEADER_MAX 10 /* without the masking key */
#define FRAME_MASK_BYTES 4
#define FRAME_FIN 0x80
#define FRAME_CONTROL 8 /* opcodes from here on: whole, and at most 125 octets */
#define FRAME_OPCODES 0x0707 /* bit per opcode: 0 to 2 and 8 to 10 */
#define FRAME_LENGTH_16 126
#define FRAME_LENGTH_64 127
#define UPGRADE_LINE_BYTES 12
#define UPGRADE_HEAD_MAX 2048 /* bytes of a call in which the head's end is looked for, */
#define UPGRADE_PIECE 64 /* so many at a time */

#define HTTP_1_1 0x312e312f50545448ULL /* "HTTP/1.1" in wire order */
#define CODE_101 0x31303120U /* " 101" */

/* What such an answer begins with. */
static __always_inline __u8 upgrade_line(__u32 at)
{
	return at < 8 ? HTTP_1_1 >> 8 * at : CODE_101 >> 8 * (at & 3);
}

static __always_inline struct frame_reader *frames_of(struct connection *c, __u8 direction)
{
	return direction == DIRECTION_INGRESS ? &c->frames_ingress : &c->frames_egress;
}

static __always_inline void frame_pass(struct frame_walk *walk, struct frame_reader *r)
{
	__u32 take = r->left < walk->here ? r->left : walk->here;

	walk->address += take;
	walk->here -= take;
	walk->rest -= take;
	r->left -= take;
	if (!r->left)
		r->count++;
}

/* The two octets that a header begins with. */
static __always_inline bool is_frame(struct frame_reader *r, __u8 first, __u8 second)
{
	__u8 opcode = first & 15;

	if (!(FRAME_OPCODES >> opcode & 1) || second >> 7 != r->is_masked)
		return false;
	return opcode < FRAME_CONTROL || (first & FRAME_FIN && (second & 127) < FRAME_LENGTH_16);
}

/* Its header has been read. */
static __always_inline void frame_begin(struct frame_reader *r, __u64 length)
{
	r->have = 0;
	r->left = length + (r->is_masked ? FRAME_MASK_BYTES : 0);
	if (length >> 63)
		r->state = FRAMES_STRANGE;
	else if (!r->left)
		r->count++;
}

/* All of a header at once. */
static __always_inline void frame_header(struct io *io, struct frame_walk *walk,
					 struct frame_reader *r)
{
	__u8 head[FRAME_HEADER_MAX] = {};
	__u32 used = 2;
	__u64 length;

	if (read_content(io, head, sizeof(head), walk->address)) {
		r->state = FRAMES_UNREAD;
		return;
	}
	if (!is_frame(r, head[0], head[1])) {
		r->state = FRAMES_STRANGE;
		return;
	}
	length = head[1] & 127;
	if (length == FRAME_LENGTH_16) {
		length = (__u64)head[2] << 8 | head[3];
		used += 2;
	} else if (length == FRAME_LENGTH_64) {
		length = 0;
		for (int i = 2; i < FRAME_HEADER_MAX; i++)
			length = length << 8 | head[i];
		used += 8;
	}
	walk->address += used;
	walk->here -= used;
	walk->rest -= used;
	frame_begin(r, length);
	if (r->left && r->state == FRAMES_COUNTED)
		frame_pass(walk, r);
}

/* One octet of a header that lies in several buffers, or at the end of one. */
static __always_inline void frame_octet(struct io *io, struct frame_walk *walk,
					struct frame_reader *r)
{
	__u8 octet = 0;

	if (read_content(io, &octet, 1, walk->address)) {
		r->state = FRAMES_UNREAD;
		return;
	}
	walk->address++;
	walk->here--;
	walk->rest--;
	if (r->have == 0) {
		r->first = octet;
		r->have = 1;
		return;
	}
	if (r->have == 1) {
		if (!is_frame(r, r->first, octet)) {
			r->state = FRAMES_STRANGE;
			return;
		}
		octet &= 127;
		if (octet < FRAME_LENGTH_16) {
			frame_begin(r, octet);
			return;
		}
		r->have = 2;
		r->wants = octet == FRAME_LENGTH_16 ? 2 : 8;
		r->left = 0;
		return;
	}
	r->left = r->left << 8 | octet;
	if (--r->wants == 0)
		frame_begin(r, r->left);
}

/* The next one of the call's buffers; false if there is none. */
static __always_inline bool next_buffer(struct io *io, struct frame_walk *walk)
{
	struct user_iovec iov = {};

	if (!walk->rest)
		return false;
	if (io->buffer_kind == BUFFER_PLAIN || walk->index >= io->iov_count ||
	    read_iovec(io, walk->index, &iov))
		return false;
	if (walk->index == 0 && io->skip) {
		if (iov.length < io->skip)
			return false;
		iov.base += io->skip;
		iov.length -= io->skip;
	}
	walk->index++;
	walk->address = iov.base;
	walk->here = iov.length < walk->rest ? iov.length : walk->rest;
	return true;
}

/* The next stretch of the call at hand; 0 if there is none that can be read. */
__noinline int frame_step(__u32 lane)
{
	struct capture_scratch *scratch = scratch_at(lane);
	struct frame_reader *r;
	struct frame_walk *walk;
	struct connection *c;
	struct io *io;

	if (!scratch)
		return 0;
	io = &scratch->io;
	walk = &scratch->walk;
	c = connection_at(io->slot);
	if (!c)
		return 0;
	r = frames_of(c, io->direction);
	if (!walk->here)
		return next_buffer(io, walk);
	if (walk->skip) {
		__u32 take = walk->skip < walk->here ? walk->skip : walk->here;

		walk->skip -= take;
		walk->address += take;
		walk->here -= take;
		walk->rest -= take;
	} else if (!r->have && r->left) {
		frame_pass(walk, r);
	} else if (!r->have && walk->here >= FRAME_HEADER_MAX) {
		frame_header(io, walk, r);
	} else {
		frame_octet(io, walk, r);
	}
	return r->state == FRAMES_COUNTED;
}

/* In rounds: one loop over all steps takes the older verifiers long. */
__noinline int frame_steps(__u32 lane)
{
	for (__u32 i = 0; i < FRAME_STEPS; i++)
		if (!frame_step(lane))
			return 0;
	return 1;
}

/* One octet of an answer that may be a 101; 1 if it is the last one of its head (bare
 * line feeds are fine: RFC 9112 section 2.2). */
__noinline int upgrade_octet(__u32 lane, __u32 at)
{
	struct capture_scratch *scratch = scratch_at(lane);
	struct frame_reader *r;
	struct connection *c;
	__u8 octet;

	if (!scratch || at >= UPGRADE_HEAD_MAX)
		return 0;
	c = connection_at(scratch->io.slot);
	if (!c)
		return 0;
	r = frames_of(c, scratch->io.direction);
	octet = scratch->payload[at & (UPGRADE_HEAD_MAX - 1)];
	if (r->state == FRAMES_LINE) {
		if (octet != upgrade_line(r->have)) {
			r->state = FRAMES_NONE;
			return 1;
		}
		if (++r->have == UPGRADE_LINE_BYTES) {
			r->state = FRAMES_HEAD;
			r->have = 0;
		}
		return 0;
	}
	/* have: 1 behind a line feed, 2 behind a line feed and a carriage return. */
	if (octet == '\n') {
		if (r->have) {
			r->state = FRAMES_COUNTED;
			r->have = 0;
			return 1;
		}
		r->have = 1;
	} else {
		r->have = octet == '\r' && r->have == 1 ? 2 : 0;
	}
	return 0;
}

/* The number of octets up to the head's end, 0 if it is not among those. */
__noinline int upgrade_octets(__u32 lane, __u32 from, __u32 to)
{
	for (__u32 i = 0; i < UPGRADE_PIECE; i++) {
		if (from + i >= to)
			return 0;
		if (upgrade_octet(lane, from + i))
			return i + 1;
	}
	return 0;
}

/* Bytes of an answer that may be a 101: where the first frame begins, -1 if not in them. */
static __always_inline int upgrade_end(struct capture_scratch *scratch, struct frame_reader *r,
				       __u32 lane)
{
	__u32 want = scratch->io.bytes, got, count;

	if (want > UPGRADE_HEAD_MAX)
		want = UPGRADE_HEAD_MAX;
	got = copy_user(scratch, &scratch->io, 0, want, lane);
	for (__u32 at = 0; at < UPGRADE_HEAD_MAX; at += UPGRADE_PIECE) {
		count = upgrade_octets(lane, at, got);
		if (count)
			return r->state == FRAMES_COUNTED ? (int)(at + count) : -1;
	}
	if (got < scratch->io.bytes)
		r->state = FRAMES_UNREAD;
	return -1;
}

/* Sets up both directions with the answer at hand, which begins like a 101. */
static __always_inline void frames_expect(struct connection *c, struct io *io)
{
	struct frame_reader *answers = frames_of(c, io->direction);
	struct frame_reader *asked = frames_of(c, !io->direction);

	__builtin_memset(answers, 0, sizeof(*answers));
	__builtin_memset(asked, 0, sizeof(*asked));
	answers->state = FRAMES_LINE;
	answers->seq = io->seq;
	/* Whoever asked sends nothing before it has been answered (section 4.1). */
	asked->state = FRAMES_COUNTED;
	asked->is_masked = 1;
	asked->seq = io->other_seq;
}

/* The call at hand moved bytes of a connection that has been upgraded, or may be. */
__noinline int frames_moved(__u32 slot, __u32 lane)
{
	struct capture_scratch *scratch = scratch_at(lane);
	struct connection *c = connection_at(slot);
	struct frame_reader *r;
	struct frame_walk *walk;
	struct io *io;
	int begin = 0;

	if (!scratch || !c)
		return 0;
	io = &scratch->io;
	r = frames_of(c, io->direction);
	if (r->state == FRAMES_NONE)
		frames_expect(c, io);
	/* Bytes went by unseen, or two threads had calls at once. */
	if (r->seq != io->seq && r->state < FRAMES_UNREAD)
		r->state = FRAMES_UNREAD;
	r->seq = io->seq + io->bytes;
	if (r->state == FRAMES_LINE || r->state == FRAMES_HEAD) {
		begin = upgrade_end(scratch, r, lane);
		if (r->state == FRAMES_NONE) {
			frames_of(c, !io->direction)->state = FRAMES_NONE;
			c->is_upgraded = 0;
		}
	}
	if (r->state != FRAMES_COUNTED || begin < 0)
		return 0;
	walk = &scratch->walk;
	walk->address = io->buffer;
	walk->rest = io->bytes;
	walk->here = io->buffer_kind == BUFFER_PLAIN ? io->bytes : 0;
	walk->index = 0;
	walk->skip = begin;
	if (io->buffer_kind == BUFFER_NONE) {
		walk->here = io->bytes;
		if (!r->have && r->left >= io->bytes)
			frame_pass(walk, r);
	} else {
		for (__u32 round = 0; round < FRAME_ROUNDS; round++)
			if (!frame_steps(lane))
				break;
	}
	if (walk->rest && r->state == FRAMES_COUNTED)
		r->state = FRAMES_UNREAD;
	return 0;
}

#endif

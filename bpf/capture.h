/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Bounded copies of what a call moved into data records. A record is built in per-CPU
 * scratch and copied to the ring at its true size: a ring slot sized for the
 * longest payload would cost 4 KiB for each 200-byte request.
 */
#ifndef UNDERSPAN_CAPTURE_H
#define UNDERSPAN_CAPTURE_H

#define IOVECS_MAX 64
#define IOVECS_AT_ONCE 4 /* power of two */

enum buffer_kind {
	BUFFER_NONE = 0, /* content is out of reach */
	BUFFER_PLAIN = 1, /* one user address */
	BUFFER_IOVEC = 2, /* the user address of an iovec array */
	BUFFER_KERNEL_IOVEC = 3, /* the same, copied into the kernel */
	BUFFER_KVEC = 4, /* an array of kernel addresses */
};

/* One call that moved bytes, as a front end hands it to the core. */
struct io {
	__u64 enter_ns; /* writes: entry of the call */
	__u64 now; /* return of the call */
	__u64 buffer;
	__u64 pid_tgid;
	__u32 iov_count;
	__u32 skip; /* bytes of the first iovec that the call did not start at */
	__u32 bytes;
	__u32 seq; /* of the first byte */
	__u32 other_seq;
	__u32 slot;
	__u32 session; /* 1 + slot of the TLS session in whose call this happens, 0: none */
	struct event_cause cause, request; /* writes: of the thread */
	__u8 buffer_kind;
	__u8 direction;
	__u16 reserved;
	__u32 together; /* reads: bytes that arrived with the first of those to be told next; 0: all did */
};

/* A call that reads or writes has returned. */
struct socket_call {
	struct sock *sk;
	long result;
	__u32 lane;
	__u32 slot; /* out, of call_returned */
	__u32 kind, flags; /* of the syscall front end alone */
	bool writes;
	bool zero_ends; /* a result of 0 is the end of the stream */
};

/* Where the frames of a WebSocket are looked for in the call at hand: bpf/frames.h. */
struct frame_walk {
	__u64 address; /* of what comes next */
	__u32 here; /* bytes of its buffer from there on */
	__u32 rest; /* bytes of the call */
	__u32 index; /* of the next buffer */
	__u32 skip; /* bytes in front of the first frame */
};

/* How far the iovecs of the call at hand have been copied. */
struct gathering {
	__u32 skip; /* bytes from the next iovec on that are not wanted */
	__u32 want;
	__u32 done;
	__u32 reserved;
};

/* The call at hand and its record under construction. Shared by the global functions
 * below, which the verifier checks once each, without pointers to carry it in (those
 * as arguments need Linux 5.13): they get the number of a lane. The payload has twice
 * its size, so that a copy to a variable offset can be bounded. */
struct capture_scratch {
	struct io io;
	struct socket_call call; /* of the syscall front end */
	struct gathering gathering;
	struct frame_walk walk;
	__u64 holders; /* of a lane that can be held: see lane_take */
	struct user_iovec iovecs[IOVECS_AT_ONCE];
	struct data_event event;
	__u8 payload[2 * EVENT_CHUNK_MAX];
};

/* Lane 0 of a CPU is for programs that cannot be preempted (tracepoints run with
 * preemption off). A program that can be (uprobes, trampolines) stays on its CPU, but
 * another one may run there meanwhile: such programs take a lane and give it back. */
#define LANE_ATOMIC 0
#define LANES 16 /* half of them where the kernel preempts nothing of its own: src/kernel/bpf-object.ts */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LANES);
	__type(key, __u32);
	__type(value, struct capture_scratch);
} capture_scratches SEC(".maps");

static __always_inline struct capture_scratch *scratch_at(__u32 lane)
{
	return bpf_map_lookup_elem(&capture_scratches, &lane);
}

/* A lane that nobody on this CPU holds, 0 if all are held. Whoever finds more than
 * itself after its own addition goes on to the next, so a lane never has two holders;
 * atomic additions that return a value would need Linux 5.12. */
static __always_inline __u32 lane_take(void)
{
	for (__u32 lane = LANE_ATOMIC + 1; lane < LANES; lane++) {
		struct capture_scratch *scratch = scratch_at(lane);

		if (!scratch)
			break;
		__sync_fetch_and_add(&scratch->holders, 1);
		if (*(volatile __u64 *)&scratch->holders == 1)
			return lane;
		__sync_fetch_and_add(&scratch->holders, -1);
	}
	count_loss(LOSS_LANES_BUSY);
	return 0;
}

static __always_inline void lane_give(__u32 lane)
{
	struct capture_scratch *scratch = scratch_at(lane);

	if (scratch)
		__sync_fetch_and_add(&scratch->holders, -1);
}

static __always_inline long read_content(struct io *io, void *to, __u32 bytes, __u64 address)
{
	return io->buffer_kind == BUFFER_KVEC ? bpf_probe_read_kernel(to, bytes, (void *)address) :
						bpf_probe_read_user(to, bytes, (void *)address);
}

/* The iovec at `index` of the call's array. Not for BUFFER_PLAIN. */
static __always_inline long read_iovec(struct io *io, __u32 index, struct user_iovec *iov)
{
	void *address = (void *)(io->buffer + index * sizeof(*iov));

	if (io->buffer_kind == BUFFER_IOVEC)
		return bpf_probe_read_user(iov, sizeof(*iov), address);
	return bpf_probe_read_kernel(iov, sizeof(*iov), address);
}

/* The iovecs from `index` on, as many as are read at once: a read is a helper's call. */
static __always_inline long read_iovecs(struct capture_scratch *scratch, struct io *io, __u32 index)
{
	void *address = (void *)(io->buffer + index * sizeof(struct user_iovec));
	__u64 bytes = (io->iov_count - index) * sizeof(struct user_iovec);

	if (bytes > sizeof(scratch->iovecs))
		bytes = sizeof(scratch->iovecs);
	asm volatile("%0 &= %1" : "+r"(bytes) : "i"(2 * sizeof(scratch->iovecs) - 1));
	if (bytes > sizeof(scratch->iovecs))
		return -1;
	if (io->buffer_kind == BUFFER_IOVEC)
		return bpf_probe_read_user(scratch->iovecs, bytes, address);
	return bpf_probe_read_kernel(scratch->iovecs, bytes, address);
}

/* Copies what is wanted of IOVECS_AT_ONCE of the call's iovecs, from `index` on, into the lane's
 * scratch. 0: there is no more to be copied, or a page was not there. So few in a function of
 * its own, for the verifier: it walks this once, not once for each iovec. */
__noinline int gather_some(__u32 lane, __u32 index)
{
	struct capture_scratch *scratch = scratch_at(lane);
	__u32 skip, want, done;
	struct io *io;

	if (!scratch)
		return 0;
	io = &scratch->io;
	skip = scratch->gathering.skip;
	want = scratch->gathering.want;
	done = scratch->gathering.done;
	if (index >= io->iov_count)
		return 0;
	if (read_iovecs(scratch, io, index))
		goto fault;
	for (__u32 i = 0; i < IOVECS_AT_ONCE; i++) {
		struct user_iovec iov;
		__u64 take;

		if (index + i >= io->iov_count || done >= want || done >= EVENT_CHUNK_MAX)
			return 0;
		iov = scratch->iovecs[i];
		if (skip >= iov.length) {
			skip -= iov.length;
			continue;
		}
		take = iov.length - skip;
		if (take > want - done)
			take = want - done;
		if (take > EVENT_CHUNK_MAX)
			take = EVENT_CHUNK_MAX;
		if (read_content(io, &scratch->payload[done & (EVENT_CHUNK_MAX - 1)], take,
				 iov.base + skip))
			goto fault;
		done += take;
		skip = 0;
		scratch->gathering.done = done;
	}
	scratch->gathering.skip = skip;
	return done < want;
fault:
	count_loss(LOSS_READ_FAULT);
	return 0;
}

/* The iovecs behind the first ones. */
__noinline int gather_rest(__u32 lane)
{
	for (__u32 i = IOVECS_AT_ONCE; i < IOVECS_MAX; i += IOVECS_AT_ONCE)
		if (!gather_some(lane, i))
			return 0;
	count_loss(LOSS_IOV_TOO_LONG);
	return 0;
}

/* Gathers up to `want` bytes, from byte `skip` of the call's iovecs on, into the
 * lane's scratch. Returns how many were copied; less than `want` if a page was not
 * there. */
static __always_inline __u32 gather(struct capture_scratch *scratch, __u32 skip, __u32 want,
				    __u32 lane)
{
	scratch->gathering.skip = skip;
	scratch->gathering.want = want;
	scratch->gathering.done = 0;
	if (gather_some(lane, 0))
		gather_rest(lane);
	return scratch->gathering.done;
}

/* A length that fits into `payload`, in words that every verifier understands: those of
 * 5.10 lose a bound that was compared in half a register. */
static __always_inline __u64 bounded(__u64 length)
{
	asm volatile("%0 &= %1" : "+r"(length) : "i"(2 * EVENT_CHUNK_MAX - 1));
	return length;
}

static __always_inline __u32 copy_user(struct capture_scratch *scratch, struct io *io, __u32 offset,
				       __u32 want, __u32 lane)
{
	if (want > EVENT_CHUNK_MAX)
		want = EVENT_CHUNK_MAX;
	if (io->buffer_kind == BUFFER_PLAIN) {
		if (!bpf_probe_read_user(scratch->payload, bounded(want),
					 (void *)(io->buffer + offset)))
			return want;
		count_loss(LOSS_READ_FAULT);
		return 0;
	}
	if (io->buffer_kind == BUFFER_NONE)
		return 0;
	return gather(scratch, io->skip + offset, want, lane);
}

/* Shifts the last bytes of a buffer into an 8-byte window, last byte highest. */
static __always_inline __u64 roll(struct io *io, __u64 tail, __u64 address, __u64 length)
{
	__u64 bytes = 0;
	__u32 shift;

	if (length >= 8) {
		if (read_content(io, &bytes, sizeof(bytes), address + length - 8))
			return 0;
		return bytes;
	}
	if (!length || read_content(io, &bytes, length & 7, address))
		return 0;
	shift = 8 * (length & 7);
	return tail >> shift | bytes << (64 - shift);
}

/* The last 8 bytes that went through, for a run of which nothing more is captured:
 * how a chunked body ends is seen in them. Writers send the end of a chunk and the
 * last chunk from small buffers of their own, so up to three iovecs are looked at.
 * 0 where the bytes cannot be found at once. */
__noinline __u64 read_tail(__u64 tail, __u32 lane)
{
	struct capture_scratch *scratch = scratch_at(lane);
	struct io *io;

	if (!scratch)
		return 0;
	io = &scratch->io;
	if (io->buffer_kind == BUFFER_PLAIN)
		return roll(io, tail, io->buffer, io->bytes);
	if (io->buffer_kind == BUFFER_NONE || !io->iov_count)
		return 0;
	if (io->direction == DIRECTION_INGRESS && io->iov_count > 1)
		return 0; /* which iovec the last byte went to would have to be counted out */
	/* As a loop, older kernels refuse it: see test/unit/kernel/loops.test.ts. */
#pragma unroll
	for (__u32 back = 3; back > 0; back--) {
		struct user_iovec iov = {};

		if (back > io->iov_count)
			continue;
		if (read_iovec(io, io->iov_count - back, &iov))
			return 0;
		if (back == io->iov_count && io->skip < iov.length) {
			iov.base += io->skip;
			iov.length -= io->skip;
		}
		if (io->iov_count == 1 && iov.length > io->bytes)
			iov.length = io->bytes; /* a short call */
		tail = roll(io, tail, iov.base, iov.length);
	}
	return tail;
}

static __always_inline bool is_token_start(__u64 bytes)
{
	__u32 letters = 0;

	for (int i = 0; i < 8; i++) {
		__u8 c = bytes >> (8 * i);

		if (c == ' ')
			break;
		if (!((c >= 'A' && c <= 'Z') || c == '-'))
			return false;
		letters++;
	}
	return letters >= 3;
}

#define HTTP_1_ 0x002e312f50545448ULL /* "HTTP/1." in wire order */

#define MESSAGE_BYTES_MIN 14 /* no message is shorter */

/* Are these the first bytes of a request or of a response? */
static __always_inline bool is_message_start(__u64 first)
{
	return (first & 0x00ffffffffffffffULL) == HTTP_1_ || is_token_start(first);
}

/* Does a call behind the captured head begin a message? After an early response the
 * next request follows a discarded body without a change of direction. A body that
 * happens to look like it costs one needless capture. */
__noinline int begins_message(__u32 lane)
{
	struct capture_scratch *scratch = scratch_at(lane);
	struct user_iovec iov = {};
	__u64 first = 0, address;
	struct io *io;

	if (!scratch)
		return 0;
	io = &scratch->io;
	address = io->buffer;
	if (io->bytes < MESSAGE_BYTES_MIN || io->buffer_kind == BUFFER_NONE)
		return 0;
	if (io->buffer_kind != BUFFER_PLAIN) {
		if (read_iovec(io, 0, &iov) || iov.length < io->skip + 8ULL)
			return 0;
		address = iov.base + io->skip;
	}
	if (read_content(io, &first, sizeof(first), address))
		return 0;
	return is_message_start(first);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Bounded copies of user memory into data records. A record is built in per-CPU
 * scratch and copied to the ring at its true size: a ring slot sized for the
 * longest payload would cost 4 KiB for each 200-byte request.
 */
#ifndef UNDERSPAN_CAPTURE_H
#define UNDERSPAN_CAPTURE_H

#define IOVECS_MAX 16

enum buffer_kind {
	BUFFER_NONE = 0, /* content is out of reach */
	BUFFER_PLAIN = 1, /* one user address */
	BUFFER_IOVEC = 2, /* the user address of an iovec array */
};

/* One call that moved bytes, as a front end hands it to the core. */
struct io {
	__u64 enter_ns; /* writes: entry of the call */
	__u64 now; /* return of the call */
	__u64 buffer;
	__u64 pid_tgid;
	__u32 iov_count;
	__u32 bytes;
	__u32 seq; /* of the first byte */
	__u32 other_seq;
	__u32 slot;
	__u8 buffer_kind;
	__u8 direction;
	__u16 reserved;
};

/* The call at hand and its record under construction, one per CPU: only for
 * programs that cannot be preempted (tracepoints run with preemption off). Shared
 * by the global functions below, which the verifier checks once each, without
 * arguments to carry it in (pointers as arguments need Linux 5.13). The payload
 * has twice its size, so that a copy to a variable offset can be bounded. */
struct capture_scratch {
	struct io io;
	struct data_event event;
	__u8 payload[2 * EVENT_CHUNK_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct capture_scratch);
} capture_scratches SEC(".maps");

static __always_inline struct capture_scratch *scratch_of_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&capture_scratches, &zero);
}

/* Gathers up to `want` bytes, from byte `skip` of an iovec array on, into this
 * CPU's scratch. Returns how many were copied; less than `want` if a page was not
 * there. */
__noinline __u32 gather(__u64 iovecs, __u32 count, __u32 skip, __u32 want)
{
	__u32 done = 0;
	struct capture_scratch *scratch = scratch_of_cpu();

	if (!scratch)
		return 0;
	for (__u32 i = 0; i < IOVECS_MAX; i++) {
		struct user_iovec iov = {};
		__u64 take;

		if (i >= count || done >= want || done >= EVENT_CHUNK_MAX)
			return done;
		if (bpf_probe_read_user(&iov, sizeof(iov), (void *)(iovecs + i * sizeof(iov))))
			break;
		if (skip >= iov.length) {
			skip -= iov.length;
			continue;
		}
		take = iov.length - skip;
		if (take > want - done)
			take = want - done;
		if (take > EVENT_CHUNK_MAX)
			take = EVENT_CHUNK_MAX;
		if (bpf_probe_read_user(&scratch->payload[done & (EVENT_CHUNK_MAX - 1)], take,
					(void *)(iov.base + skip)))
			break;
		done += take;
		skip = 0;
	}
	count_loss(done < want ? LOSS_IOV_TOO_LONG : LOSS_READ_FAULT);
	return done;
}

static __always_inline __u32 copy_user(struct capture_scratch *scratch, struct io *io, __u32 offset,
				       __u32 want)
{
	if (want > EVENT_CHUNK_MAX)
		want = EVENT_CHUNK_MAX;
	if (io->buffer_kind == BUFFER_PLAIN) {
		if (!bpf_probe_read_user(scratch->payload, want, (void *)(io->buffer + offset)))
			return want;
		count_loss(LOSS_READ_FAULT);
		return 0;
	}
	if (io->buffer_kind == BUFFER_IOVEC)
		return gather(io->buffer, io->iov_count, offset, want);
	return 0;
}

/* The last 8 bytes of a call, for a run of which nothing more is captured: how a
 * chunked body ends is seen in them. 0 if they cannot be read at once. */
static __always_inline __u64 read_tail(struct io *io)
{
	__u64 tail = 0, address = 0;

	if (io->bytes < 8)
		return 0;
	if (io->buffer_kind == BUFFER_PLAIN) {
		address = io->buffer + io->bytes - 8;
	} else if (io->buffer_kind == BUFFER_IOVEC && io->direction == DIRECTION_EGRESS &&
		   io->iov_count) {
		struct user_iovec iov = {};
		__u64 last = io->buffer + (io->iov_count - 1) * sizeof(iov);

		if (bpf_probe_read_user(&iov, sizeof(iov), (void *)last) || iov.length < 8)
			return 0;
		address = iov.base + iov.length - 8;
	}
	if (!address || bpf_probe_read_user(&tail, sizeof(tail), (void *)address))
		return 0;
	return tail;
}

#endif

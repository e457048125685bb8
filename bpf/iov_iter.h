/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where a call's bytes are, by the kernel's own words: the iov_iter of its msghdr. It
 * moves on while the call copies, so it is noted at entry. Its layout differs:
 *   before 5.14 (8cd54c1c8480) kind and direction shared `type`, a bit per kind;
 *   6.0 (fcb14cb1bdac) added ITER_UBUF, one user buffer without an iovec;
 *   6.4 (de4f5fed3f23) renamed `iov` to `__iov`.
 * The numbers of enum iter_type changed with each; CO-RE asks the running kernel.
 */
#ifndef UNDERSPAN_IOV_ITER_H
#define UNDERSPAN_IOV_ITER_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

enum iter_type {
	ITER_UBUF,
	ITER_IOVEC,
	ITER_KVEC,
};

struct iov_iter {
	__u8 iter_type;
	unsigned long iov_offset;
	unsigned long count;
	void *__iov;
	void *ubuf;
	void *kvec;
	unsigned long nr_segs;
};

struct iov_iter___before_6_4 {
	void *iov;
};

struct iov_iter___before_5_14 {
	unsigned int type;
};

struct msghdr {
	struct iov_iter msg_iter;
	unsigned int msg_flags;
};

#pragma clang attribute pop

static __always_inline __u32 iter_kind(struct iov_iter *iter)
{
	struct iov_iter___before_5_14 *old = (void *)iter;

	if (bpf_core_field_exists(old->type))
		return BPF_CORE_READ(old, type) & ~1U; /* the lowest bit is the direction */
	return KERNEL_READ(struct iov_iter, iter, iter_type);
}

static __always_inline __u64 iter_iovecs(struct iov_iter *iter)
{
	struct iov_iter___before_6_4 *old = (void *)iter;

	if (bpf_core_field_exists(old->iov))
		return (__u64)BPF_CORE_READ(old, iov);
	return (__u64)KERNEL_READ(struct iov_iter, iter, __iov);
}

static __always_inline void iter_note(struct call_start *start, struct msghdr *message)
{
	struct iov_iter *iter =
		(void *)message + bpf_core_field_offset(struct msghdr, msg_iter);
	__u32 kind = iter_kind(iter);

	start->skip = KERNEL_READ(struct iov_iter, iter, iov_offset);
	start->count = 0;
	start->asks = KERNEL_READ(struct iov_iter, iter, count) == 1;
	if (bpf_core_enum_value_exists(enum iter_type, ITER_UBUF) &&
	    kind == bpf_core_enum_value(enum iter_type, ITER_UBUF)) {
		start->buffer = (__u64)KERNEL_READ(struct iov_iter, iter, ubuf) + start->skip;
		start->buffer_kind = BUFFER_PLAIN;
		return;
	}
	start->count = KERNEL_READ(struct iov_iter, iter, nr_segs);
	if (kind == bpf_core_enum_value(enum iter_type, ITER_IOVEC)) {
		start->buffer = iter_iovecs(iter);
		start->buffer_kind = BUFFER_KERNEL_IOVEC;
	} else if (kind == bpf_core_enum_value(enum iter_type, ITER_KVEC)) {
		start->buffer = (__u64)KERNEL_READ(struct iov_iter, iter, kvec);
		start->buffer_kind = BUFFER_KVEC;
	} else {
		/* ITER_BVEC, what sendfile and splice send: pages, which need not be mapped
		 * anywhere. Their bytes are counted and placed, not read. */
		start->buffer_kind = BUFFER_NONE;
	}
}

/* What was noted, for the call that has now returned. */
static __always_inline void iter_recall(struct io *io, struct call_start *start)
{
	io->buffer_kind = start->buffer_kind;
	io->buffer = start->buffer;
	io->iov_count = start->count;
	io->skip = start->skip;
}

#endif

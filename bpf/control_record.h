/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Records on the control ring: begun with their header filled and the rest zero,
 * submitted when their facts are in. One that finds the ring full is counted.
 */
#ifndef UNDERSPAN_CONTROL_RECORD_H
#define UNDERSPAN_CONTROL_RECORD_H

static __always_inline void fill_header(struct event_header *h, __u16 kind, __u32 size, __u64 now)
{
	h->time_ns = now;
	h->size = size;
	h->kind = kind;
	h->reserved = 0;
}

/* A `struct type` in the ring, NULL if there is no room: reserving needs a constant size. */
#define CONTROL_RECORD(type, kind, now)                                                    \
	({                                                                                 \
		struct type *record_ = bpf_ringbuf_reserve(&control_ring, sizeof(*record_), 0); \
		if (record_) {                                                             \
			__builtin_memset(record_, 0, sizeof(*record_));                    \
			fill_header(&record_->header, kind, sizeof(*record_), now);        \
		} else {                                                                   \
			count_loss(LOSS_CONTROL_RING_FULL);                                \
		}                                                                          \
		record_;                                                                   \
	})

static __always_inline void control_submit(void *record)
{
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	count_stat(STAT_CONTROL_RECORDS, 1);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What runs on threads by turns: goroutines (goroutine.h), and tasks of asyncio
 * (python.h). Which request it is at is kept with it, and not with the thread.
 */
#ifndef UNDERSPAN_ROUTINE_H
#define UNDERSPAN_ROUTINE_H

static __always_inline struct routine_key routine_key_of(__u64 address)
{
	struct routine_key key = { .routine = address,
				   .pid = bpf_get_current_pid_tgid() >> 32 };

	return key;
}

static __noinline struct routine *routine_find(__u64 address)
{
	struct routine_key key = routine_key_of(address);

	return address ? bpf_map_lookup_elem(&routines, &key) : NULL;
}

/* It is at nothing so far, whatever was known of it or of another one at its address. */
static __noinline struct routine *routine_renew(__u64 address)
{
	struct routine_key key = routine_key_of(address);
	__u32 zero = 0;
	struct routine *nothing = bpf_map_lookup_elem(&no_routine, &zero);

	if (!nothing || !address)
		return NULL;
	if (bpf_map_update_elem(&routines, &key, nothing, BPF_ANY)) {
		count_loss(LOSS_THREADS_FULL);
		return NULL;
	}
	return bpf_map_lookup_elem(&routines, &key);
}

static __always_inline void routine_forget(__u64 address)
{
	struct routine_key key = routine_key_of(address);

	bpf_map_delete_elem(&routines, &key);
}

/* Has the request been answered, or has more been read behind it? */
static __noinline bool is_over(struct event_cause *request)
{
	struct connection *c = bpf_map_lookup_elem(&connections, &request->slot);

	return !(request->flags & CAUSE_TAKEN) || !c || c->generation != request->generation ||
	       c->direction != DIRECTION_INGRESS || c->run.end_seq != request->seq;
}

/* The goroutine works on an item from now on: bpf/go_channel.h. */
static __noinline void go_works(struct routine *routine, struct event_cause *request, bool is_sure)
{
	__u32 name = (__u32)((bpf_ktime_get_boot_ns() * 0x9e3779b97f4a7c15ULL) >> 48) | 1;

	routine->takes_items = 1;
	routine->has_called = routine->has_passed = 0;
	routine->item = *request;
	routine->item.flags = CAUSE_TAKEN;
	if (is_sure)
		routine->item.flags |= CAUSE_ITEM | name << CAUSE_START_SHIFT;
}

#endif

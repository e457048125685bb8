/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where values go through channels of Go (src/discovery/go-channels.ts); see go_channel.h.
 * Attached only once a process is seen to hand requests over: programs use channels for
 * much else.
 */

/* runtime.send(channel, one that waits to receive, ...): to that one, past the buffer. */
SEC("uprobe")
int go_channel_send(struct pt_regs *ctx)
{
	__u64 channel = GO_FIRST(ctx), to = 0;
	struct go_channel facts = {};
	struct go_given given = {};

	if (!go_is_followed() || !go_channel_at(channel, &facts) ||
	    bpf_probe_read_user(&to, sizeof(to), (void *)GO_SECOND(ctx)))
		return 0;
	go_note_followed();
	go_gives(GO_ROUTINE(ctx), channel, &given);
	go_takes(to, channel, facts.item_bytes, &given);
	/* What goes into a buffer and is less than a word is a semaphore's. */
	if (!facts.places || facts.item_bytes >= GO_ITEM_BYTES_MIN)
		go_spreads(to, channel, &given);
	return 0;
}

/* runtime.recv(channel, one that waits to send, ...): from that one, if there is no buffer. */
SEC("uprobe")
int go_channel_receive(struct pt_regs *ctx)
{
	__u64 channel = GO_FIRST(ctx), from = 0;
	struct go_channel facts = {};
	struct go_given given = {};

	if (!go_is_followed() || !go_channel_at(channel, &facts) ||
	    facts.places || bpf_probe_read_user(&from, sizeof(from), (void *)GO_SECOND(ctx)))
		return 0;
	go_gives(from, channel, &given);
	go_takes(GO_ROUTINE(ctx), channel, facts.item_bytes, &given);
	go_spreads(GO_ROUTINE(ctx), channel, &given);
	return 0;
}

/* In runtime.recv, if there is one, typedmemmove(type, place, value of the one that waits):
 * what lay in that place has been taken. */
SEC("uprobe")
int go_channel_passed(struct pt_regs *ctx)
{
	__u64 place = GO_SECOND(ctx), channel = 0, waiter = 0, from = 0;
	struct go_channel facts = {};

	if (!go_is_followed() ||
	    bpf_probe_read_user(&channel, sizeof(channel), (void *)GO_SPILLED(ctx, 0)) ||
	    bpf_probe_read_user(&waiter, sizeof(waiter), (void *)GO_SPILLED(ctx, 1)) ||
	    bpf_probe_read_user(&from, sizeof(from), (void *)waiter) ||
	    !go_has_place(channel, place, &facts))
		return 0;
	go_empties(GO_ROUTINE(ctx), channel, place, facts.item_bytes);
	go_fills(from, channel, place);
	return 0;
}

/* A value is put into a place of a channel's buffer, or is taken out. */
static __always_inline int go_place_changes(struct pt_regs *ctx, bool is_filled)
{
	__u64 place = GO_SECOND(ctx), channel;
	struct go_channel facts = {};

	if (!go_is_followed())
		return 0;
	channel = go_channel_of(ctx, place, &facts);
	if (!channel)
		return 0;
	if (is_filled)
		go_fills(GO_ROUTINE(ctx), channel, place);
	else
		go_empties(GO_ROUTINE(ctx), channel, place, facts.item_bytes);
	return 0;
}

/* typedmemmove(type, place, value) */
SEC("uprobe")
int go_channel_filled(struct pt_regs *ctx)
{
	return go_place_changes(ctx, true);
}

/* typedmemclr(type, place) */
SEC("uprobe")
int go_channel_emptied(struct pt_regs *ctx)
{
	return go_place_changes(ctx, false);
}

/* Where those that wait to receive are listed, since Go 1.23 and before. */
#define GO_RECEIVERS 64
#define GO_RECEIVERS_OLD 56
#define GO_ADDRESS_MIN 4096
#define GO_WAITERS_MAX 4

/* runtime.closechan(channel): all that wait for something go on. */
SEC("uprobe")
int go_channel_closed(struct pt_regs *ctx)
{
	__u64 channel = GO_FIRST(ctx), at = 0;
	struct go_waiter waiter = {};
	struct go_given given = {};

	if (!go_is_followed())
		return 0;
	go_gives(GO_ROUTINE(ctx), channel, &given);
	if ((!given.given_name && !given.given_start) ||
	    bpf_probe_read_user(&at, sizeof(at), (void *)(channel + GO_RECEIVERS_OLD)))
		return 0;
	/* Otherwise a place in the buffer. */
	if (at < GO_ADDRESS_MIN &&
	    bpf_probe_read_user(&at, sizeof(at), (void *)(channel + GO_RECEIVERS)))
		return 0;
	for (int left = GO_WAITERS_MAX; left > 0 && at; left--, at = waiter.next) {
		if (bpf_probe_read_user(&waiter, sizeof(waiter), (void *)at))
			break;
		go_comes(waiter.routine, &given);
		go_spreads(waiter.routine, channel, &given);
	}
	return 0;
}

/* Functions of net/http and database/sql that get a connection out of a pool: what comes to the
 * goroutine there, also from one at another request, is a connection and no work. */
SEC("uprobe")
int go_pool_enter(struct pt_regs *ctx)
{
	struct routine *routine;

	if (!thread_selected(bpf_get_current_pid_tgid()))
		return 0;
	routine = routine_find(GO_ROUTINE(ctx));
	if (!routine)
		routine = routine_renew(GO_ROUTINE(ctx));
	if (routine)
		routine->is_pooling = 1;
	return 0;
}

SEC("uprobe")
int go_pool_return(struct pt_regs *ctx)
{
	struct routine *routine = routine_find(GO_ROUTINE(ctx));

	if (routine)
		routine->is_pooling = 0;
	return 0;
}

/* runtime.notifyList, of a sync.Cond: its list of those that wait. */
#define GO_COND_WAITERS 16

/* sync.runtime_notifyListNotifyAll(list), and of the first one only: those that wait go on. */
SEC("uprobe")
int go_cond_told(struct pt_regs *ctx)
{
	__u64 list = GO_FIRST(ctx), at = 0;
	struct go_waiter waiter = {};
	struct go_given given = {};

	if (!go_is_followed())
		return 0;
	go_gives(GO_ROUTINE(ctx), list, &given);
	if (!given.given_start ||
	    bpf_probe_read_user(&at, sizeof(at), (void *)(list + GO_COND_WAITERS)))
		return 0;
	for (int left = GO_WAITERS_MAX; left > 0 && at; left--, at = waiter.next) {
		if (bpf_probe_read_user(&waiter, sizeof(waiter), (void *)at))
			break;
		go_spreads(waiter.routine, list, &given);
	}
	return 0;
}

/* Where the semaphore of a WaitGroup lies in it. */
#define GO_GROUP_SEMAPHORE 8

/* sync.runtime_SemacquireWaitGroup(semaphore): the goroutine waits for the group's others. */
SEC("uprobe")
int go_group_wait(struct pt_regs *ctx)
{
	if (go_is_followed())
		go_fills(GO_ROUTINE(ctx), GO_FIRST(ctx), GO_FIRST(ctx));
	return 0;
}

/* sync.(*WaitGroup).Add(group, delta): who adds waits, or somebody at the same request;
 * who takes away has done something for it. */
SEC("uprobe")
int go_group_add(struct pt_regs *ctx)
{
	__u64 group = GO_FIRST(ctx);
	struct go_given given = {};
	struct routine *waiting;

	if (!go_is_followed())
		return 0;
	if ((__s64)GO_SECOND(ctx) > 0) {
		go_note_followed();
		routine_forget(group + GO_GROUP_SEMAPHORE); /* of those that waited before */
		go_fills(GO_ROUTINE(ctx), group, group);
		return 0;
	}
	waiting = routine_find(group + GO_GROUP_SEMAPHORE);
	if (waiting) {
		go_gives(GO_ROUTINE(ctx), group, &given);
		go_spreads(waiting->giver, group, &given);
	}
	waiting = routine_find(group);
	if (!waiting || waiting->given_name || go_is_over(&waiting->request) ||
	    waiting->giver == GO_ROUTINE(ctx))
		return 0;
	go_gives(GO_ROUTINE(ctx), group, &given);
	if (given.request.flags)
		go_returns(&given, &waiting->request, 0);
	go_spreads(waiting->giver, group, &given);
	return 0;
}

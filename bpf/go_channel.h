/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Channels of Go. A goroutine that works on items (a pool of workers) takes out what one
 * that is at a request has put in, calls somebody, and gives something back: through a
 * channel, or by a WaitGroup. Between that and the next item it is at that request,
 *  - if it had given back all before: who collects several may call for any of them;
 *  - and if what it gives back afterwards comes to that request and to no other: that is
 *    told of (work_event), and only then is the call the request's (src/traces/hand-overs.ts).
 * Channels are used for much else. One that a goroutine both takes from and puts into is a
 * pool or a semaphore; who has taken a request itself takes no work from anybody; and a
 * value of less than a word is a signal, not an item.
 *
 * A goroutine that was started for a request, and has called, may have done so for several: if it then
 * gives something to another one, by any of these ways or a sync.Cond, that is told of, too (WORK_SPREAD).
 *
 * Every value that goes through a channel passes one of a few places in the runtime, with
 * the channel locked: from one goroutine to another one that waits, or into a place of
 * the channel's buffer and out of it. The place names what lies there.
 */
#ifndef UNDERSPAN_GO_CHANNEL_H
#define UNDERSPAN_GO_CHANNEL_H

/* Of an observed process. How often this is passed tells what following costs, whatever the
 * process: each pays for the probe. */
static __always_inline bool go_is_followed(void)
{
	count_stat(STAT_CHANNEL_VALUES, 1);
	return thread_selected(bpf_get_current_pid_tgid()) != NULL;
}

/* One of the last places to be probed is passed: see go_guarded. */
static __noinline void go_note_followed(void)
{
	struct routine *known = routine_find(GO_FOLLOWED);

	if (known)
		return;
	known = routine_renew(GO_FOLLOWED);
	if (known)
		known->source = bpf_ktime_get_boot_ns();
}

/* runtime.hchan, as far as it is the same in all versions. */
struct go_channel {
	__u64 count;
	__u64 places;
	__u64 buffer;
	__u16 item_bytes, padding[3];
};

#define GO_ITEM_BYTES_MIN 8

/* runtime.sudog: one that waits at a channel. */
struct go_waiter {
	__u64 routine;
	__u64 next;
};

/* What is given, and by whom: the beginning of a struct routine. */
struct go_given {
	struct event_cause request; /* flags 0: it is for none; CAUSE_ITEM: for this one, for certain */
	__u64 giver;
	__u32 given_name;
	__u32 given_calls;
	__u32 is_timed; /* a timer has put it in */
	__u32 given_start; /* the giver was started for `giver_at` */
	struct event_cause giver_at;
};

/* runtime.g.m, and its first field: the goroutine that runs timers and the scheduler. */
#define GO_MACHINE 48

static __always_inline bool go_is_system(__u64 routine)
{
	__u64 machine = 0, system = 0;

	return !bpf_probe_read_user(&machine, sizeof(machine), (void *)(routine + GO_MACHINE)) &&
	       !bpf_probe_read_user(&system, sizeof(system), (void *)machine) && system == routine;
}

/* Has the request been answered, as far as can be seen here? */
static __noinline bool go_is_over(struct event_cause *request)
{
	struct connection *c = connection_at(request->slot);

	return !(request->flags & CAUSE_TAKEN) || !c || c->generation != request->generation ||
	       c->direction != DIRECTION_INGRESS ||
	       (__u64)(__u32)(c->run.end_seq - request->seq) >= c->run.bytes;
}

/* Of two that are not over. */
static __always_inline bool go_is_same(struct event_cause *one, struct event_cause *other)
{
	return one->slot == other->slot && one->generation == other->generation;
}

static __always_inline bool go_is_shared(__u64 channel)
{
	struct routine *known = routine_find(channel);

	return known && known->is_shared;
}

static __noinline void go_share(__u64 channel)
{
	struct routine *known = routine_renew(channel);

	if (known)
		known->is_shared = 1;
}

/* What the goroutine puts into the channel. */
static __noinline void go_gives(__u64 address, __u64 channel, struct go_given *given)
{
	struct routine *giver = routine_find(address);

	given->request.flags = 0;
	given->giver = address;
	given->given_name = given->given_calls = given->is_timed = given->given_start = 0;
	if (!giver) {
		given->is_timed = go_is_system(address);
		return;
	}
	if (giver->emptied == channel)
		go_share(channel);
	giver->filled = channel;
	if (giver->takes_items) {
		giver->has_passed = 1;
		given->request = giver->item;
		given->request.flags &= CAUSE_TAKEN | CAUSE_ITEM;
		given->given_name = giver->item.flags & CAUSE_ITEM ?
					    giver->item.flags >> CAUSE_START_SHIFT :
					    0;
		given->given_calls = giver->has_called;
		if (go_is_over(&giver->item))
			given->request.flags = 0;
	} else if (!go_is_over(&giver->request)) {
		given->request = giver->request;
		given->request.flags = CAUSE_TAKEN | CAUSE_ITEM;
	}
	if (!giver->takes_items && giver->has_called && giver->request.flags & CAUSE_INHERITED) {
		given->given_start = giver->request.flags >> CAUSE_START_SHIFT;
		given->giver_at = giver->request;
	}
}

static __noinline void go_tell(struct go_given *given, __u16 outcome)
{
	struct work_event *e;

	if (!given->given_name || !given->given_calls)
		return;
	e = CONTROL_RECORD(work_event, EVENT_WORK, bpf_ktime_get_boot_ns());
	if (!e)
		return;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->slot = given->request.slot;
	e->generation = given->request.generation;
	e->name = given->given_name;
	e->outcome = outcome;
	control_submit(e);
}

/* A goroutine that was started for one request, and has called, gives something to another one: nobody
 * knows for which of them it has called (a loader that collects what several ask for). What it takes out
 * of a pool it puts back, for whoever comes. */
static __noinline void go_spreads(__u64 address, __u64 channel, struct go_given *given)
{
	struct routine *taker = routine_find(address);
	struct work_event *e;

	if (!given->given_start || !taker || taker->takes_items || taker->is_pooling ||
	    given->giver == address ||
	    go_is_shared(channel) || go_is_over(&taker->request) ||
	    go_is_same(&given->giver_at, &taker->request))
		return;
	e = CONTROL_RECORD(work_event, EVENT_WORK, bpf_ktime_get_boot_ns());
	if (!e)
		return;
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->slot = given->giver_at.slot;
	e->generation = given->giver_at.generation;
	e->name = given->given_start;
	e->outcome = WORK_SPREAD;
	control_submit(e);
}

/* The goroutine need not give anything back for this request any more. */
static __noinline void go_closes(struct routine *routine, struct event_cause *request)
{
	for (int at = 0; at < GO_OPEN_MAX; at++)
		if (routine->open[at].flags && go_is_same(&routine->open[at], request))
			routine->open[at].flags = 0;
}

/* What the giver works on, or worked on, has come to somebody at this request: to one that
 * is at it itself, or works on an item for it and gave the giver its own (`by_item`). */
static __noinline void go_returns(struct go_given *given, struct event_cause *request,
				  __u64 by_item)
{
	struct routine *giver = routine_find(given->giver);
	bool is_same = go_is_same(&given->request, request);

	if (!giver || !giver->takes_items || (by_item && giver->from != by_item))
		return;
	go_closes(giver, request);
	if (is_same)
		giver->is_blurred = giver->has_called = 0;
	if (by_item)
		return;
	if (is_same) {
		go_tell(given, WORK_RETURNED);
		return;
	}
	if (giver->item.flags & CAUSE_ITEM &&
	    giver->item.flags >> CAUSE_START_SHIFT == given->given_name)
		giver->item.flags = CAUSE_TAKEN;
	go_tell(given, WORK_STRAYED);
}

/* Something comes to the one at `address` from one that may work on an item. */
static __noinline void go_comes(__u64 address, struct go_given *given)
{
	struct routine *taker = routine_find(address);
	struct event_cause *request;

	if (!taker || given->giver == address)
		return;
	request = taker->takes_items ? &taker->item : &taker->request;
	if (go_is_over(request))
		return;
	if (!go_is_over(&given->request))
		go_returns(given, request, taker->takes_items ? address : 0);
	else if (!taker->takes_items)
		go_tell(given, WORK_STRAYED); /* the item's own request has been answered meanwhile */
}

/* The goroutine has taken an item, whose request is another one than that of the last. */
static __noinline void go_begins(struct routine *taker, struct go_given *given)
{
	bool is_sure = given->request.flags & CAUSE_ITEM && !taker->is_crowded;
	struct routine *giver = routine_find(given->giver);
	bool is_noted = false;

	/* What it was started for is yet to be done. */
	if (!taker->takes_items && taker->request.flags & CAUSE_INHERITED &&
	    !go_is_over(&taker->request) && !go_is_same(&taker->request, &given->request))
		is_sure = false;
	/* Who collects does not call in between. */
	if (taker->is_blurred && !taker->has_called)
		is_sure = false;
	else
		taker->is_blurred = 0;
	/* Who has called for it may go on doing so. */
	if (giver && giver->takes_items && !giver->has_called)
		go_closes(giver, &given->request);
	if (taker->takes_items && taker->has_passed && !taker->has_called)
		go_closes(taker, &taker->item);
	for (int at = 0; at < GO_OPEN_MAX; at++) {
		if (taker->open[at].flags && !go_is_over(&taker->open[at])) {
			is_sure = false;
		} else if (!is_noted) {
			taker->open[at] = given->request;
			is_noted = true;
		} else {
			taker->open[at].flags = 0;
		}
	}
	if (!is_noted)
		taker->is_crowded = 1;
	go_works(taker, &given->request, is_sure);
}

/* A further item of the request that it is at: also for this one it has to give something
 * back, whatever it has handed on before. */
static __always_inline void go_takes_more(struct routine *taker, struct event_cause *request)
{
	taker->has_passed = 0;
	if (!taker->open[0].flags)
		taker->open[0] = *request;
}

/* The goroutine takes what was given out of the channel. */
static __noinline void go_takes(__u64 address, __u64 channel, __u32 bytes, struct go_given *given)
{
	struct routine *taker = routine_find(address);
	struct event_cause *request;
	bool is_item, is_same;

	if (taker && taker->is_pooling)
		return;
	go_comes(address, given);
	is_item = given->request.flags && given->giver != address && !go_is_over(&given->request);
	if (taker) {
		request = taker->takes_items ? &taker->item : &taker->request;
		is_same = is_item && !go_is_over(request) && go_is_same(request, &given->request);
		if (!is_same && given->giver != address) {
			if (taker->filled == channel)
				go_share(channel);
			taker->emptied = channel;
		}
		if (taker->request.flags & CAUSE_TAKEN && !(taker->request.flags & CAUSE_INHERITED))
			return;
		if (is_same && taker->takes_items) {
			go_takes_more(taker, &given->request);
			return;
		}
		/* It was started for the request, and gets more of it from one that works for it. */
		if (is_same && (given->given_name || !(given->request.flags & CAUSE_ITEM)))
			return;
	}
	if (bytes < GO_ITEM_BYTES_MIN || given->giver == address || go_is_shared(channel))
		return;
	if (!is_item) {
		if (taker && taker->takes_items) {
			taker->item.flags &= CAUSE_TAKEN;
			if (!given->is_timed)
				taker->is_blurred = 1;
			if (channel == taker->source)
				taker->has_called = 0;
		}
		return;
	}
	if (!taker)
		taker = routine_renew(address);
	if (!taker)
		return;
	go_begins(taker, given);
	taker->source = channel;
	taker->from = given->giver;
}

static __always_inline bool go_channel_at(__u64 address, struct go_channel *channel)
{
	return !bpf_probe_read_user(channel, sizeof(*channel), (void *)address);
}

/* Does the place lie in the buffer of the channel? All values of no bytes have one place:
 * it names what lies there if there can be but one. */
static __noinline bool go_has_place(__u64 address, __u64 place, struct go_channel *channel)
{
	if (!address || !go_channel_at(address, channel) || !channel->places ||
	    channel->places > 1 << 24)
		return false;
	if (!channel->item_bytes)
		return channel->places == 1 && place == channel->buffer;
	return place >= channel->buffer &&
	       place - channel->buffer < channel->places * channel->item_bytes;
}

/* What a function of Go was called with lies where it has spilled it, above its frame (x86-64). */
#define GO_SPILLED(context, index) (GO_FRAME(context) + 16 + (index) * 8)

/* runtime.scase */
struct go_case {
	__u64 channel;
	__u64 value;
};

#define GO_CASES_MAX 8

/* The channel that has this place: of runtime.chansend and its like the first argument, of
 * runtime.selectgo one of the cases that the first argument names. */
static __noinline __u64 go_channel_of(struct pt_regs *ctx, __u64 place, struct go_channel *channel)
{
	struct go_case one;
	__u64 first = 0;

	if (bpf_probe_read_user(&first, sizeof(first), (void *)GO_SPILLED(ctx, 0)))
		return 0;
	if (go_has_place(first, place, channel))
		return first;
	for (int at = 0; at < GO_CASES_MAX; at++) {
		if (bpf_probe_read_user(&one, sizeof(one), (void *)(first + at * sizeof(one))))
			return 0;
		if (go_has_place(one.channel, place, channel))
			return one.channel;
	}
	return 0;
}

/* The goroutine puts something into this place of the channel. */
static __noinline void go_fills(__u64 address, __u64 channel, __u64 place)
{
	struct go_given given = {};
	struct routine *lies;

	go_gives(address, channel, &given);
	if (!given.request.flags && !given.given_name && !given.is_timed && !given.given_start) {
		routine_forget(place);
		return;
	}
	lies = routine_renew(place);
	if (!lies)
		return;
	lies->request = given.request;
	lies->giver = given.giver;
	lies->given_name = given.given_name;
	lies->given_calls = given.given_calls;
	lies->is_timed = given.is_timed;
	lies->given_start = given.given_start;
	lies->giver_at = given.giver_at;
}

/* It takes out what lies there. */
static __noinline void go_empties(__u64 address, __u64 channel, __u64 place, __u32 bytes)
{
	struct routine *lies = routine_find(place);
	struct go_given given = {};

	if (lies) {
		given.request = lies->request;
		given.giver = lies->giver;
		given.given_name = lies->given_name;
		given.given_calls = lies->given_calls;
		given.is_timed = lies->is_timed;
		given.given_start = lies->given_start;
		given.giver_at = lies->giver_at;
	}
	go_takes(address, channel, bytes, &given);
	if (bytes >= GO_ITEM_BYTES_MIN)
		go_spreads(address, channel, &given);
	if (lies)
		routine_forget(place);
}

#endif

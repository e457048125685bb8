/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Node.js numbers whatever will call back (a timer, a file that is read, a request that waits for a
 * connection) in the order in which it is made, and keeps the number of what runs now, and of
 * what made that, in plain memory of each thread with a loop (async_id_fields; written always, not
 * only for async_hooks). So what ran when it was made is known by what the counter said
 * whenever the loop turned to something: turns[]. Ids are doubles, which are whole and
 * positive: they compare as their bits do.
 *
 * Not numbered are promises: what goes on after one runs as nobody. It goes on before anything
 * else is called back, so after a timer it is for whoever made the timer: node_settles.
 * A socket connects amid what is for the socket itself: who makes one is noted, node_opens.
 */
#ifndef UNDERSPAN_NODE_H
#define UNDERSPAN_NODE_H

struct async_ids {
	__u64 execution, trigger, counter;
};

/* Doubles from 2^53 on are not all whole. */
#define ASYNC_ID_MAX 0x4340000000000000ULL

enum has_ids {
	IDS_NONE = 0,
	IDS_KNOWN = 1,
	IDS_SETTLED = 2, /* and a promise has been settled since the loop turned to what it is at */
};

static __always_inline struct node_loop *node_loop_of(struct thread_state *thread)
{
	__u32 tid = thread->pid_tgid;

	return bpf_map_lookup_elem(&node_loops, &tid);
}

enum immediates {
	IMMEDIATES_NONE = 0,
	IMMEDIATES_LATER = 1, /* it runs them */
	IMMEDIATES_NEXT = 2, /* likewise, and has turned to nothing else since its last take */
};

/* What is known of the loop is not so any more. */
static __always_inline void node_forgets(struct thread_state *thread)
{
	__u32 tid = thread->pid_tgid;

	bpf_map_delete_elem(&node_loops, &tid);
	thread->has_ids = IDS_NONE;
}

static __always_inline bool node_reads(struct node_loop *loop, struct async_ids *ids)
{
	return !bpf_probe_read_user(ids, sizeof(*ids), (void *)loop->fields) &&
	       ids->execution <= ids->counter && ids->trigger <= ids->counter &&
	       ids->counter < ASYNC_ID_MAX &&
	       ids->counter >= loop->turns[loop->turn % NODE_TURNS].from;
}

/* From here on what is made is made for what the thread is at. */
static __always_inline void node_notes(struct thread_state *thread, struct node_loop *loop,
				       __u64 counter)
{
	struct node_turn *turn = &loop->turns[loop->turn % NODE_TURNS];

	if (turn->from != counter) {
		loop->turn++;
		turn = &loop->turns[loop->turn % NODE_TURNS];
		turn->from = counter;
	}
	turn->cause = thread->cause;
}

/* The thread has turned to something else. */
static __noinline void node_turns(struct thread_state *thread, struct connection *c)
{
	struct node_loop *loop = node_loop_of(thread);
	struct async_ids ids;

	thread->has_ids = IDS_KNOWN;
	if (!loop || !node_reads(loop, &ids)) {
		node_forgets(thread);
		return;
	}
	node_notes(thread, loop, ids.counter);
	loop->settler = loop->opener = 0;
	loop->is_straight = loop->immediates = 0;
	loop->asked_from = loop->asked_to = 0;
	__builtin_memset(&loop->opening, 0, sizeof(loop->opening));
	if (!c)
		return;
	loop->is_straight = c->role == ROLE_SERVER;
	if (!loop->is_straight) {
		loop->opening = c->cause;
		loop->asked_from = c->handed.slot;
		loop->asked_to = c->handed.generation;
	}
}

/* A loop has turned whose handle for that lies in its Environment. */
static __noinline void node_begins(struct thread_state *thread, __u64 handle)
{
	__u32 zero = 0, tid = thread->pid_tgid, pid = thread->pid_tgid >> 32;
	struct node_layout *layout = bpf_map_lookup_elem(&node_layouts, &pid);
	struct node_loop *loop = bpf_map_lookup_elem(&no_node_loop, &zero);
	struct async_ids ids;
	__u64 fields = 0;

	if (!layout || !loop)
		return;
	bpf_probe_read_user(&fields, sizeof(fields),
			    (void *)(handle - layout->handle_at + layout->fields_at));
	if (!fields)
		return;
	if (bpf_map_update_elem(&node_loops, &tid, loop, BPF_ANY)) {
		count_loss(LOSS_THREADS_FULL);
		return;
	}
	loop = bpf_map_lookup_elem(&node_loops, &tid);
	if (!loop)
		return;
	loop->fields = fields;
	if (!node_reads(loop, &ids) || !ids.counter) {
		node_forgets(thread);
		return;
	}
	thread->has_ids = IDS_KNOWN;
	/* Of what was made before, nothing is known. */
	loop->turn = NODE_TURNS;
	loop->turns[0].from = ids.counter;
}

/* What the loop was at when it made what has this id; NULL if that is not known. */
static __always_inline struct node_turn *node_turn_of(struct node_loop *loop, __u64 id)
{
	struct node_turn *turn;
	__u32 back = 0;

	/* Turns are in the order of their ids: how many of the last ones began after it? Without
	 * branches, each of which would double what the verifier has to walk. */
	for (__u32 step = NODE_TURNS / 2; step > 0; step /= 2) {
		__u64 from = loop->turns[(loop->turn - (back + step - 1)) % NODE_TURNS].from;

		back += step * (__u32)((id - 1 - from) >> 63);
	}
	turn = &loop->turns[(loop->turn - back) % NODE_TURNS];
	return turn->from && turn->from < id ? turn : NULL;
}

/* What was made before the loop turned to what it is at: it runs now, or has made what runs. */
static __always_inline __u64 node_earlier(struct node_loop *loop, struct async_ids *ids)
{
	__u64 from = loop->turns[loop->turn % NODE_TURNS].from;

	if (ids->execution <= from)
		return ids->execution;
	return ids->trigger <= from ? ids->trigger : 0;
}

#define CAUSE_KEPT (CAUSE_LOOPS | CAUSE_GUARDED)

static __always_inline bool has_flow(const struct event_cause *cause)
{
	return (cause->flags & (CAUSE_TAKEN | CAUSE_WAITED | CAUSE_WOKEN | CAUSE_ENDED)) ==
	       CAUSE_TAKEN;
}

/* It goes on with what it was at then. */
static __always_inline void node_returns(struct node_turn *turn, struct event_cause *cause)
{
	if (!turn || !has_flow(&turn->cause)) {
		cause->flags |= CAUSE_WOKEN;
		return;
	}
	if (has_flow(cause) && is_same_take(&turn->cause, cause))
		return;
	cause->slot = turn->cause.slot;
	cause->generation = turn->cause.generation;
	cause->seq = turn->cause.seq;
	cause->flags = (cause->flags & CAUSE_KEPT) | (turn->cause.flags & CAUSE_QUIET) |
		       CAUSE_TAKEN | CAUSE_RESUMED;
}

/* An id as a number, modulo 2^32. */
static __always_inline __u32 async_number(__u64 id)
{
	__u32 exponent = (id >> 52) & 2047;

	if (exponent < 1023 || exponent > 1023 + 52)
		return 0;
	return ((id & ((1ULL << 52) - 1)) | 1ULL << 52) >> (1023 + 52 - exponent);
}

/* A socket is made, whose id is the next one. It connects right after, amid what is for the socket. */
static __noinline void node_opens(struct thread_state *thread)
{
	struct node_loop *loop = node_loop_of(thread);
	struct async_ids ids;
	__u64 id;

	if (!loop || !node_reads(loop, &ids)) {
		node_forgets(thread);
		return;
	}
	id = node_earlier(loop, &ids);
	if (id != loop->opener)
		loop->opened_from = async_number(ids.counter);
	loop->opener = id;
	loop->opened_to = async_number(ids.counter) + 1;
}

/* What runs now, if it is for a socket that was made since the loop turned: who has made that? */
static __always_inline __u64 node_opener(struct node_loop *loop, struct async_ids *ids)
{
	__u32 behind = async_number(ids->trigger) - loop->opened_from - 1;

	return behind < loop->opened_to - loop->opened_from ? loop->opener : 0;
}

/* The thread writes to the connection, or connects it: for what? A socket and its parser have
 * ids, too, which say for whom they were made, not for whom they are used. */
static __noinline void node_sends(struct thread_state *thread, struct connection *c,
				  struct event_cause *cause)
{
	struct node_loop *loop = node_loop_of(thread);
	struct node_turn *turn;
	struct async_ids ids;
	__u32 number, made, once = 0;
	__u64 id, from;

	if (!loop || !node_reads(loop, &ids)) {
		node_forgets(thread);
		return;
	}
	if (c->role != ROLE_SERVER && c->direction != DIRECTION_EGRESS) {
		/* `handed` is nobody else's in Node.js: what was made with the request. Not what was made
		 * before the loop turned to what it is at, for it may have been at others meanwhile. */
		from = loop->turns[loop->turn % NODE_TURNS].from;
		number = async_number(from);
		/* A socket that is used again gets its id right before what runs. What runs since
		 * before the loop turned (a connect that is done) has made nothing for it. */
		made = ids.execution > from ? async_number(ids.execution) - 2 : async_number(ids.counter);
		c->handed.slot = (__s32)(made - number) > 0 ? made : number;
		c->handed.generation = async_number(ids.counter);
	}
	if (loop->is_straight)
		return;
	id = node_earlier(loop, &ids);
	if (!id && loop->opener)
		id = node_opener(loop, &ids);
	if (!id)
		return;
	number = async_number(id);
	if (loop->asked_to && number - loop->asked_from - 1 < loop->asked_to - loop->asked_from)
		return;
	turn = node_turn_of(loop, id);
	if (!turn || (loop->opening.flags && has_flow(&loop->opening) == has_flow(&turn->cause) &&
		      (!has_flow(&turn->cause) || is_same_take(&turn->cause, &loop->opening))))
		return;
	if (loop->immediates && turn && !has_flow(&turn->cause) && id == ids.execution) {
		/* An immediate that a timer or another immediate has made. */
		turn = node_turn_of(loop, ids.trigger);
	} else if (loop->immediates && turn && !(turn->cause.flags & CAUSE_RESUMED)) {
		once = CAUSE_ONCE | (turn->cause.flags & CAUSE_DIRECT);
		if (loop->immediates == IMMEDIATES_NEXT && is_same_take(&turn->cause, &thread->cause))
			once |= CAUSE_NEXT;
	}
	node_returns(turn, cause);
	cause->flags |= CAUSE_SOLE | once;
}

/* The loop runs immediates next. `is_next`: after what it has taken it has turned to nothing else. */
static __always_inline void node_runs_immediates(struct thread_state *thread, bool is_next)
{
	struct node_loop *loop = node_loop_of(thread);

	if (loop)
		loop->immediates = is_next ? IMMEDIATES_NEXT : IMMEDIATES_LATER;
}

/* A promise has been settled for which somebody waits: that goes on when what runs now has returned. */
static __noinline void node_settles(struct thread_state *thread)
{
	struct node_loop *loop = node_loop_of(thread);
	struct async_ids ids;
	__u64 id;

	if (!loop || !node_reads(loop, &ids)) {
		node_forgets(thread);
		return;
	}
	id = ids.execution ? node_earlier(loop, &ids) : 0;
	if (!id || id == loop->settler)
		return;
	thread->has_ids = IDS_SETTLED;
	loop->settler = id;
	thread->slices++;
	thread->cause.flags &= ~CAUSE_DIRECT;
	node_returns(node_turn_of(loop, id), &thread->cause);
	if (has_flow(&thread->cause))
		thread->cause.flags |= CAUSE_RESUMED | CAUSE_DIRECT;
	node_notes(thread, loop, ids.counter);
}

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Programs that say themselves what they are at: they run a function for one of their own
 * objects, a unit, that stands for one request at a time (a stream of HAProxy, a request
 * and a fetch of Varnish, a connection of lighttpd). What is read from a connection
 * meanwhile is that unit's request (Varnish: what was read before), and is that of a unit
 * that is made meanwhile; what is sent or connected meanwhile is for it, on whichever
 * thread. A unit within a unit (ESI) is for the same request. By the programs' own
 * functions: src/discovery/loop-probes.ts.
 */
#ifndef UNDERSPAN_UNIT_H
#define UNDERSPAN_UNIT_H

static __always_inline bool has_units(struct thread_state *thread)
{
	return !thread->runs_routines && thread->has_units;
}

/* Bytes of a request were taken by the thread that is at a unit. */
static __noinline void unit_takes(struct thread_state *thread, struct event_cause *take)
{
	struct routine *unit = routine_renew(thread->unit);

	if (!unit)
		return;
	unit->request.slot = take->slot;
	unit->request.generation = take->generation;
	unit->request.seq = take->seq;
	unit->request.flags = CAUSE_TAKEN | CAUSE_TOLD;
}

/* The thread writes or connects. Outside of units, and in one of which nothing is known, it does
 * so for no request (a health check), or for one that only the connection can tell. */
static __noinline void unit_tells(struct thread_state *thread, struct event_cause *request)
{
	struct routine *unit = routine_find(thread->unit);

	request->flags = CAUSE_TOLD;
	if (unit && unit->request.flags & CAUSE_TOLD)
		*request = unit->request;
}

/* One is made at this address, where another one may have been before. */
static __noinline void unit_is_made(struct thread_state *thread, __u64 address)
{
	struct event_cause request = {};
	struct routine *unit;

	if (!has_units(thread))
		return;
	unit_tells(thread, &request);
	if (!(request.flags & CAUSE_TAKEN)) {
		routine_forget(address);
		return;
	}
	unit = routine_renew(address);
	if (unit)
		unit->request = request;
}

/* A function begins that the thread runs for the unit; `follows`: when it has just read
 * the unit's request. */
static __noinline void unit_begins(struct thread_state *thread, __u64 address, __u64 stack,
				   bool follows)
{
	if (thread->runs_routines || (thread->has_units && thread->unit && stack < thread->unit_stack))
		return;
	thread->unit = address;
	thread->unit_stack = stack;
	thread->has_units = 1;
	if (follows && thread->has_request && thread->request.flags & CAUSE_TAKEN)
		unit_takes(thread, &thread->request);
	thread->has_request = 0;
}

/* It has ended, or one within it has. */
static __always_inline void unit_ends(struct thread_state *thread, __u64 stack)
{
	if (has_units(thread) && stack >= thread->unit_stack)
		thread->unit = 0;
}

#endif

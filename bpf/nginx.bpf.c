/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where nginx says itself which request it goes on with, after a timer, a name that was looked
 * up, a lock, or anything else that a program in Lua may wait for: functions that are
 * given the request, and through it its connection, whose socket the kernel knows
 * (src/discovery/loop-probes.ts). What is sent from there on is for what was read
 * there last, until the loop turns to something else. Attached only once a process is seen to call
 * for requests that are not known: plain proxying needs none of it.
 */

/* ngx_http_request_t: a mark of its own, and the connection. */
struct nginx_request {
	__u32 signature, padding;
	__u64 connection;
};

#define NGINX_SIGNATURE 0x50545448 /* "HTTP" */
#define NGINX_DESCRIPTOR 24 /* in ngx_connection_t; -1: of a timer in Lua, which has no client */

/* The connection on which the request came, as long as nothing has been answered. */
static __noinline struct connection *nginx_client(__u64 request, __u32 *slot)
{
	struct nginx_request facts = {};
	struct connection *c;
	struct sock *sk;
	__s32 fd = -1;

	if (bpf_probe_read_user(&facts, sizeof(facts), (void *)request) ||
	    facts.signature != NGINX_SIGNATURE ||
	    bpf_probe_read_user(&fd, sizeof(fd), (void *)(facts.connection + NGINX_DESCRIPTOR)) ||
	    fd < 0)
		return NULL;
	sk = sock_at(fd);
	c = sk ? connection_find(address_of(sk), slot) : NULL;
	if (c && c->session) {
		*slot = c->session - 1;
		c = connection_at(*slot);
	}
	return c && c->role == ROLE_SERVER && c->direction == DIRECTION_INGRESS ? c : NULL;
}

static __always_inline int nginx_resumes(__u64 request)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	struct event_cause take = {};
	struct connection *c;
	__u32 slot = 0;

	count_stat(STAT_REQUEST_STEPS, 1);
	if (!thread)
		return 0;
	c = nginx_client(request, &slot);
	if (!c) {
		cause_woken(thread);
		return 0;
	}
	take.slot = slot;
	take.generation = c->generation;
	take.seq = c->run.end_seq;
	if (has_flow(&thread->cause) && is_same_take(&thread->cause, &take))
		return 0; /* it has just read it */
	cause_woken(thread);
	thread->cause.slot = take.slot;
	thread->cause.generation = take.generation;
	thread->cause.seq = take.seq;
	thread->cause.flags = (thread->cause.flags & CAUSE_OF_THREAD) | CAUSE_TAKEN;
	return 0;
}

SEC("uprobe")
int nginx_first(struct pt_regs *ctx)
{
	return nginx_resumes(ARGUMENT1(ctx));
}

SEC("uprobe")
int nginx_second(struct pt_regs *ctx)
{
	return nginx_resumes(ARGUMENT2(ctx));
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The socket layer's functions, as fentry and kprobe programs see them: struct proto_ops
 * (inet_sendmsg, unix_stream_recvmsg ...), where every way into a socket meets:
 * read and write in all variants, sendfile, splice, io_uring. Not tcp_sendmsg and
 * tcp_recvmsg below, whose arguments have changed and which kTLS bypasses: the
 * arguments of proto_ops have been the same since long before 5.8.
 */
#ifndef UNDERSPAN_SOCKET_LAYER_H
#define UNDERSPAN_SOCKET_LAYER_H

/* The kernel's function behind a system call; its only argument are the registers. */
#if defined(__TARGET_ARCH_x86)
#define SYSCALL_PREFIX "__x64_sys_"
#else
#define SYSCALL_PREFIX "__arm64_sys_"
#endif

static __always_inline bool is_stream(struct socket *socket)
{
	return socket && KERNEL_READ(struct socket, socket, type) == SOCK_STREAM;
}

/* Has the program whose copy runs done what there is to do? It leaves a mark when it has,
 * which is taken away here. */
static __always_inline bool is_done(struct thread_state *thread, bool again)
{
	bool done = again && thread->is_done;

	if (has_copies)
		thread->is_done = !again;
	return done;
}

/* A read or write begins; without a message its bytes are out of reach. What is noted
 * is found again by thread: a thread is in one such function at a time. */
static __noinline void layer_entered(struct socket *socket, struct msghdr *message, __u32 flags,
				     bool again)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (!thread || is_done(thread, again))
		return;
	thread->enter_ns = bpf_ktime_get_boot_ns();
	thread->call.socket = (__u64)socket;
	thread->call.flags = flags;
	thread->call.asks = 0;
	if (message)
		iter_note(&thread->call, message);
	else
		thread->call.buffer_kind = BUFFER_NONE;
}

static __always_inline void layer_sending(struct socket *socket, struct msghdr *message,
					  bool again)
{
	layer_entered(socket, message, KERNEL_READ(struct msghdr, message, msg_flags), again);
}

/* It returned, and no lane is free. */
static __noinline void layer_unrecorded(struct sock *sk, bool writes, __u32 bytes)
{
	__u32 slot, end_seq;
	struct connection *c = connection_find((__u64)sk, &slot);

	if (!c)
		return;
	if (!(c->flags & CONNECTION_UNIX))
		end_seq = writes ? KERNEL_READ(struct tcp_sock, sk, write_seq) : read_position(sk);
	else if (writes)
		end_seq = c->counted_egress += bytes;
	else
		end_seq = c->counted_ingress += bytes;
	call_unrecorded(c, bytes, writes ? DIRECTION_EGRESS : DIRECTION_INGRESS, end_seq,
			bpf_ktime_get_boot_ns());
}

/* It returns, in the lane of a program that cannot or can be preempted. The socket is no
 * longer noted when this is done. */
static __always_inline void layer_returned(bool writes, long result, bool is_preemptible,
					   bool again)
{
	struct socket_call call = { .result = result, .writes = writes, .zero_ends = !writes };
	struct capture_scratch *scratch;
	struct thread_state *thread;
	struct connection *c;
	struct socket *socket;

	/* Nothing moved: by far the most frequent failure of non-blocking programs. */
	bool is_void = result == -EAGAIN || result == -EINTR || result <= -ERESTARTSYS;

	if (is_void && !again && (writes || result != -EAGAIN))
		return;
	thread = thread_selected(bpf_get_current_pid_tgid());
	if (!thread || !thread->call.socket)
		return;
	socket = (struct socket *)thread->call.socket;
	thread->call.socket = 0;
	if ((is_void && !thread->call.asks) || thread->call.flags & (MSG_PEEK | MSG_OOB))
		return;
	call.sk = KERNEL_READ(struct socket, socket, sk);
	if (!call.sk)
		return;
	if (is_void) {
		if (!writes && result == -EAGAIN)
			socket_checked(call.sk, thread);
		return;
	}
	call.lane = LANE_ATOMIC;
	if (is_preemptible) {
		call.lane = lane_take();
		if (!call.lane) {
			if (result > 0)
				layer_unrecorded(call.sk, writes, result);
			return;
		}
	}
	scratch = scratch_at(call.lane);
	c = scratch ? call_returned(&call, &scratch->io, thread) : NULL;
	if (c && result > 0) {
		iter_recall(&scratch->io, &thread->call);
		if (!writes && thread->call.flags & MSG_TRUNC)
			scratch->io.buffer_kind = BUFFER_NONE; /* tcp(7): the bytes are discarded */
		call_moved(&call, &scratch->io, c, thread);
	}
	if (is_preemptible)
		lane_give(call.lane);
}

/* connect begins: when, and for kretprobes with which arguments. */
static __noinline void layer_connecting(struct socket *socket, void *name, bool again)
{
	struct thread_state *thread;

	if (!is_stream(socket))
		return;
	thread = thread_selected(bpf_get_current_pid_tgid());
	if (!thread || is_done(thread, again))
		return;
	thread->enter_ns = bpf_ktime_get_boot_ns();
	thread->call.socket = (__u64)socket;
	thread->call.buffer = (__u64)name;
}

static __noinline void layer_connected(long result)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	struct socket_name name = {};
	struct socket *socket;
	struct sock *sk;

	if (!thread || !thread->call.socket)
		return;
	socket = (struct socket *)thread->call.socket;
	thread->call.socket = 0;
	sk = KERNEL_READ(struct socket, socket, sk);
	if (!sk || !socket_connected(sk, result, thread))
		return;
	/* The kernel's copy lies in a sockaddr_storage: longer than any name. */
	if (bpf_probe_read_kernel(&name, sizeof(name), (void *)thread->call.buffer)) {
		count_loss(LOSS_KERNEL_READ);
		return;
	}
	never_connected(sk, &name, -result, thread);
}

/* An argument for a kretprobe. */
static __always_inline void layer_noting(void *argument)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		thread->call.socket = (__u64)argument;
}

static __always_inline void *layer_noted(void)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	void *argument = thread ? (void *)thread->call.socket : NULL;

	if (thread)
		thread->call.socket = 0;
	return argument;
}

/* accept gave `socket` its sock, or it failed and there is none. */
static __noinline void layer_accepted(struct socket *socket, bool again)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());
	struct sock *sk;

	if (!thread || !socket || is_done(thread, again))
		return;
	sk = KERNEL_READ(struct socket, socket, sk);
	if (sk)
		socket_accepted(sk, thread);
}

static __noinline void layer_created(struct socket **created, bool again)
{
	struct socket *socket = NULL;
	struct thread_state *thread;
	struct sock *sk;

	if (bpf_probe_read_kernel(&socket, sizeof(socket), created))
		return;
	if (!is_stream(socket))
		return;
	thread = thread_selected(bpf_get_current_pid_tgid());
	if (!thread || is_done(thread, again))
		return;
	sk = KERNEL_READ(struct socket, socket, sk);
	if (sk)
		socket_created(sk);
}

static __noinline void layer_releasing(struct socket *socket)
{
	struct sock *sk;

	if (!is_stream(socket))
		return;
	sk = KERNEL_READ(struct socket, socket, sk);
	if (sk)
		unix_closing(sk);
}

/* A program asks about a socket, which is in process context alone. */
static __noinline void layer_asked(struct socket *socket, __u64 level, __u64 option)
{
	struct thread_state *thread;
	struct sock *sk;

	if ((__u32)level != IPPROTO_TCP || (__u32)option != TCP_INFO)
		return;
	thread = thread_selected(bpf_get_current_pid_tgid());
	if (!thread)
		return;
	sk = KERNEL_READ(struct socket, socket, sk);
	if (sk)
		socket_asked(sk, thread);
}

/* The thread waits for any of several descriptors. */
static __always_inline void layer_waited(bool again)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread && !is_done(thread, again))
		cause_waited(thread);
}

/* epoll_wait has returned. */
static __always_inline void layer_polled(struct pt_regs *regs, long count, bool again)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (!thread || is_done(thread, again))
		return;
#if defined(__TARGET_ARCH_x86)
	cause_polled(thread, count, (__s32)KERNEL_READ(struct pt_regs, regs, r10));
#else
	cause_polled(thread, count, (__s32)KERNEL_READ(struct pt_regs, regs, regs[3]));
#endif
}

static __always_inline void layer_polls(struct pt_regs *regs, bool again)
{
#if defined(__TARGET_ARCH_x86)
	__u64 count = KERNEL_READ(struct pt_regs, regs, si);
#else
	__u64 count = KERNEL_READ(struct pt_regs, regs, regs[1]);
#endif

	if (count > POLL_OWN_MAX)
		layer_waited(again);
}

/* It has read a pipe, an eventfd, a timerfd, a signalfd. */
static __always_inline void layer_woken(long result, bool again)
{
	struct thread_state *thread;

	if (result <= 0)
		return;
	thread = thread_selected(bpf_get_current_pid_tgid());
	if (thread && !is_done(thread, again))
		cause_signalled(thread);
}

#endif

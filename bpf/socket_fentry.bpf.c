/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The fentry front end: trampolines at the functions of the socket layer, the cheapest
 * and most complete way in. A program can be preempted here, and while it is, the kernel
 * skips other runs of it on that CPU. So each has a copy (again_) that does what was
 * skipped: src/kernel/loader.ts leaves the copies out where the kernel preempts nothing of
 * its own, and attaches them first elsewhere, for what is attached last runs first. The
 * result follows the arguments, so their number is part of each program.
 */

#define TWICE(probe, name, target, body, ...)                                              \
	SEC(#probe "/" target)                                                             \
	int BPF_PROG(probe##_##name, __VA_ARGS__)                                          \
	{                                                                                  \
		const bool again = false;                                                  \
                                                                                           \
		(void)again;                                                               \
		body;                                                                      \
		return 0;                                                                  \
	}                                                                                  \
                                                                                           \
	SEC(#probe "/" target)                                                             \
	int BPF_PROG(again_##probe##_##name, __VA_ARGS__)                                  \
	{                                                                                  \
		const bool again = true;                                                   \
                                                                                           \
		(void)again;                                                               \
		body;                                                                      \
		return 0;                                                                  \
	}

#define FENTRY(function, body)                                                             \
	TWICE(fentry, function, #function, body, struct socket *socket, void *second,      \
	      __u64 third, __u64 fourth)

#define FEXIT_ARGUMENTS(function, body)                                                    \
	TWICE(fexit, function, #function, body, struct socket *socket, void *second)

#define FEXIT_2(function, body)                                                            \
	TWICE(fexit, function, #function, body, void *first, void *second, int result)

#define FEXIT_3(function, body)                                                            \
	TWICE(fexit, function, #function, body, struct socket *socket, void *second,       \
	      __u64 third, int result)

#define FEXIT_4(function, body)                                                            \
	TWICE(fexit, function, #function, body, struct socket *socket, void *second,       \
	      __u64 third, __u64 fourth, int result)

#define FEXIT_5(function, body)                                                            \
	TWICE(fexit, function, #function, body, struct socket *socket, void *second,       \
	      __u64 third, __u64 fourth, __u64 fifth, int result)

FENTRY(inet_sendmsg, layer_sending(socket, second, again))
FEXIT_3(inet_sendmsg, layer_returned(true, result, true, again))
FENTRY(inet6_sendmsg, layer_sending(socket, second, again))
FEXIT_3(inet6_sendmsg, layer_returned(true, result, true, again))
FENTRY(unix_stream_sendmsg, layer_sending(socket, second, again))
FEXIT_3(unix_stream_sendmsg, layer_returned(true, result, true, again))

FENTRY(inet_recvmsg, layer_entered(socket, second, fourth, again))
FEXIT_4(inet_recvmsg, layer_returned(false, result, true, again))
FENTRY(inet6_recvmsg, layer_entered(socket, second, fourth, again))
FEXIT_4(inet6_recvmsg, layer_returned(false, result, true, again))
FENTRY(unix_stream_recvmsg, layer_entered(socket, second, fourth, again))
FEXIT_4(unix_stream_recvmsg, layer_returned(false, result, true, again))

/* splice(2) from a socket into a pipe: the bytes are in nobody's buffer. */
FENTRY(tcp_splice_read, layer_entered(socket, NULL, 0, again))
FEXIT_5(tcp_splice_read, layer_returned(false, result, true, again))
FENTRY(unix_stream_splice_read, layer_entered(socket, NULL, 0, again))
FEXIT_5(unix_stream_splice_read, layer_returned(false, result, true, again))

/* sendfile and splice to a socket before 6.5 (dc97391e6610): a call for each page. */
FENTRY(inet_sendpage, layer_entered(socket, NULL, 0, again))
FEXIT_5(inet_sendpage, layer_returned(true, result, true, again))
FENTRY(unix_stream_sendpage, layer_entered(socket, NULL, 0, again))
FEXIT_5(unix_stream_sendpage, layer_returned(true, result, true, again))

FENTRY(inet_stream_connect, layer_connecting(socket, second, again))
FEXIT_4(inet_stream_connect, layer_connected(result))
FENTRY(unix_stream_connect, layer_connecting(socket, second, again))
FEXIT_4(unix_stream_connect, layer_connected(result))

/* What follows the accepted socket differs by version: there is a sock, or it failed. */
FEXIT_ARGUMENTS(inet_accept, layer_accepted(second, again))
FEXIT_ARGUMENTS(unix_accept, layer_accepted(second, again))

FENTRY(unix_release, layer_releasing(socket))
FENTRY(sock_common_getsockopt, layer_asked(socket, (__u64)second, third))

/* The verifier knows no pointers to pointers as arguments: this one is read from memory. */
#define CREATED_ARGUMENT 4

static __always_inline void created(__u64 *arguments, int is_kernel, int result, bool again)
{
	struct socket **socket = NULL;

	if (result || is_kernel ||
	    bpf_probe_read_kernel(&socket, sizeof(socket), arguments + CREATED_ARGUMENT))
		return;
	layer_created(socket, again);
}

TWICE(fexit, sock_create, "__sock_create", created(ctx, is_kernel, result, again), void *net,
      int family, int type, int protocol, void *created_at, int is_kernel, int result)

/* The only argument of a system call's function. Read from memory: where BTF knows its type
 * by name only (5.10: epoll_wait), the verifier does not let it be loaded. */
static __always_inline struct pt_regs *syscall_registers(void *arguments)
{
	struct pt_regs *regs = NULL;

	bpf_probe_read_kernel(&regs, sizeof(regs), arguments);
	return regs;
}

/* What sets a thread to work besides the bytes of a connection, see cause.h. */
#define FENTRY_SYSCALL(name, body)                                                         \
	TWICE(fentry, name, SYSCALL_PREFIX #name, body, void *unread)

/* Its result and its timeout tell more (cause.h). Not by kretprobes, which a kernel has
 * only so many of: waits last. */
#define FEXIT_POLL(name)                                                                   \
	TWICE(fexit, name, SYSCALL_PREFIX #name,                                           \
	      layer_polled(syscall_registers(ctx), result, again), void *unread, long result)

FEXIT_POLL(epoll_wait)
FEXIT_POLL(epoll_pwait)
FENTRY_SYSCALL(epoll_pwait2, layer_waited(again))
FENTRY_SYSCALL(select, layer_waited(again))
FENTRY_SYSCALL(pselect6, layer_waited(again))
FENTRY_SYSCALL(io_uring_enter, layer_waited(again))
FENTRY_SYSCALL(poll, layer_polls(syscall_registers(ctx), again))
FENTRY_SYSCALL(ppoll, layer_polls(syscall_registers(ctx), again))

FEXIT_2(pipe_read, layer_woken(result, again))
FEXIT_2(anon_pipe_read, layer_woken(result, again))
FEXIT_2(fifo_pipe_read, layer_woken(result, again))
FEXIT_2(eventfd_read, layer_woken(result, again))
FEXIT_2(timerfd_read_iter, layer_woken(result, again))
FEXIT_2(signalfd_read_iter, layer_woken(result, again))
FEXIT_4(timerfd_read, layer_woken(result, again))
FEXIT_4(signalfd_read, layer_woken(result, again))
FEXIT_4(inotify_read, layer_woken(result, again))

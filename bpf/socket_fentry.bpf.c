/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The fentry front end: trampolines at the functions of the socket layer, the cheapest
 * and most complete way in. A program can be preempted here; while it is, the kernel
 * skips the same program on that CPU and counts it as missed (LOSS_MISSED_RUNS), so it
 * asks not to be. The result follows the arguments, so their number is part of each program.
 */

/* Where the kernel can (6.10) and lets global functions be called meanwhile (6.15). Newer
 * kernels are the ones that preempt by default, too. */
const volatile __u32 has_preempt_guard = 0;

extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;

#define UNPREEMPTED(...)                                                                   \
	do {                                                                               \
		if (has_preempt_guard)                                                     \
			bpf_preempt_disable();                                             \
		__VA_ARGS__;                                                               \
		if (has_preempt_guard)                                                     \
			bpf_preempt_enable();                                              \
	} while (0)

#define FENTRY(function, ...)                                                              \
	SEC("fentry/" #function)                                                           \
	int BPF_PROG(fentry_##function, struct socket *socket, void *second, __u64 third,  \
		     __u64 fourth)                                                         \
	{                                                                                  \
		UNPREEMPTED(__VA_ARGS__);                                                  \
		return 0;                                                                  \
	}

#define FEXIT_ARGUMENTS(function, ...)                                                     \
	SEC("fexit/" #function)                                                            \
	int BPF_PROG(fexit_##function, struct socket *socket, void *second)                \
	{                                                                                  \
		UNPREEMPTED(__VA_ARGS__);                                                  \
		return 0;                                                                  \
	}

#define FEXIT_2(function, ...)                                                             \
	SEC("fexit/" #function)                                                            \
	int BPF_PROG(fexit_##function, void *first, void *second, int result)              \
	{                                                                                  \
		UNPREEMPTED(__VA_ARGS__);                                                  \
		return 0;                                                                  \
	}

#define FEXIT_3(function, ...)                                                             \
	SEC("fexit/" #function)                                                            \
	int BPF_PROG(fexit_##function, struct socket *socket, void *second, __u64 third,   \
		     int result)                                                           \
	{                                                                                  \
		UNPREEMPTED(__VA_ARGS__);                                                  \
		return 0;                                                                  \
	}

#define FEXIT_4(function, ...)                                                             \
	SEC("fexit/" #function)                                                            \
	int BPF_PROG(fexit_##function, struct socket *socket, void *second, __u64 third,   \
		     __u64 fourth, int result)                                             \
	{                                                                                  \
		UNPREEMPTED(__VA_ARGS__);                                                  \
		return 0;                                                                  \
	}

#define FEXIT_5(function, ...)                                                             \
	SEC("fexit/" #function)                                                            \
	int BPF_PROG(fexit_##function, struct socket *socket, void *second, __u64 third,   \
		     __u64 fourth, __u64 fifth, int result)                                \
	{                                                                                  \
		UNPREEMPTED(__VA_ARGS__);                                                  \
		return 0;                                                                  \
	}

FENTRY(inet_sendmsg, layer_sending(socket, second))
FEXIT_3(inet_sendmsg, layer_returned(true, result, true))
FENTRY(inet6_sendmsg, layer_sending(socket, second))
FEXIT_3(inet6_sendmsg, layer_returned(true, result, true))
FENTRY(unix_stream_sendmsg, layer_sending(socket, second))
FEXIT_3(unix_stream_sendmsg, layer_returned(true, result, true))

FENTRY(inet_recvmsg, layer_entered(socket, second, fourth))
FEXIT_4(inet_recvmsg, layer_returned(false, result, true))
FENTRY(inet6_recvmsg, layer_entered(socket, second, fourth))
FEXIT_4(inet6_recvmsg, layer_returned(false, result, true))
FENTRY(unix_stream_recvmsg, layer_entered(socket, second, fourth))
FEXIT_4(unix_stream_recvmsg, layer_returned(false, result, true))

/* splice(2) from a socket into a pipe: the bytes are in nobody's buffer. */
FENTRY(tcp_splice_read, layer_entered(socket, NULL, 0))
FEXIT_5(tcp_splice_read, layer_returned(false, result, true))
FENTRY(unix_stream_splice_read, layer_entered(socket, NULL, 0))
FEXIT_5(unix_stream_splice_read, layer_returned(false, result, true))

/* sendfile and splice to a socket before 6.5 (dc97391e6610): a call for each page. */
FENTRY(inet_sendpage, layer_entered(socket, NULL, 0))
FEXIT_5(inet_sendpage, layer_returned(true, result, true))
FENTRY(unix_stream_sendpage, layer_entered(socket, NULL, 0))
FEXIT_5(unix_stream_sendpage, layer_returned(true, result, true))

FENTRY(inet_stream_connect, layer_connecting(socket, second))
FEXIT_4(inet_stream_connect, layer_connected(result))
FENTRY(unix_stream_connect, layer_connecting(socket, second))
FEXIT_4(unix_stream_connect, layer_connected(result))

/* What follows the accepted socket differs by version: there is a sock, or it failed. */
FEXIT_ARGUMENTS(inet_accept, layer_accepted(second))
FEXIT_ARGUMENTS(unix_accept, layer_accepted(second))

FENTRY(unix_release, layer_releasing(socket))

/* The verifier knows no pointers to pointers as arguments: this one is read from memory. */
#define CREATED_ARGUMENT 4

SEC("fexit/__sock_create")
int BPF_PROG(fexit_sock_create, void *net, int family, int type, int protocol, void *created,
	     int is_kernel, int result)
{
	struct socket **socket = NULL;

	if (result || is_kernel ||
	    bpf_probe_read_kernel(&socket, sizeof(socket), ctx + CREATED_ARGUMENT))
		return 0;
	UNPREEMPTED(layer_created(socket));
	return 0;
}

/* The only argument of a system call's function. Read from memory: where BTF knows its type
 * by name only (5.10: epoll_wait), the verifier does not let it be loaded. */
static __always_inline struct pt_regs *syscall_registers(void *arguments)
{
	struct pt_regs *regs = NULL;

	bpf_probe_read_kernel(&regs, sizeof(regs), arguments);
	return regs;
}

/* What sets a thread to work besides the bytes of a connection, see cause.h. */
#define FENTRY_SYSCALL(name, ...)                                                          \
	SEC("fentry/" SYSCALL_PREFIX #name)                                                \
	int BPF_PROG(fentry_##name)                                                        \
	{                                                                                  \
		UNPREEMPTED(__VA_ARGS__);                                                  \
		return 0;                                                                  \
	}

/* Its result and its timeout tell more (cause.h). Not by kretprobes, which a kernel has
 * only so many of: waits last. */
#define FEXIT_POLL(name)                                                                   \
	SEC("fexit/" SYSCALL_PREFIX #name)                                                 \
	int BPF_PROG(fexit_##name, void *unread, long result)                              \
	{                                                                                  \
		UNPREEMPTED(layer_polled(syscall_registers(ctx), result));                 \
		return 0;                                                                  \
	}

FEXIT_POLL(epoll_wait)
FEXIT_POLL(epoll_pwait)
FENTRY_SYSCALL(epoll_pwait2, layer_waited())
FENTRY_SYSCALL(select, layer_waited())
FENTRY_SYSCALL(pselect6, layer_waited())
FENTRY_SYSCALL(io_uring_enter, layer_waited())
FENTRY_SYSCALL(poll, layer_polls(syscall_registers(ctx)))
FENTRY_SYSCALL(ppoll, layer_polls(syscall_registers(ctx)))

FEXIT_2(pipe_read, layer_woken(result))
FEXIT_2(anon_pipe_read, layer_woken(result))
FEXIT_2(fifo_pipe_read, layer_woken(result))
FEXIT_2(eventfd_read, layer_woken(result))
FEXIT_2(timerfd_read_iter, layer_woken(result))
FEXIT_2(signalfd_read_iter, layer_woken(result))
FEXIT_4(timerfd_read, layer_woken(result))
FEXIT_4(signalfd_read, layer_woken(result))
FEXIT_4(inotify_read, layer_woken(result))

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kprobe front end: the same functions for kernels without trampolines for them
 * (arm64 before 6.4, kernels built without BTF-capable ftrace). A kretprobe takes an
 * instance for every call under way, blocked ones included, and skips calls when they
 * run out: src/kernel/loader.ts raises their number and reads the misses. At return
 * the arguments are gone; the entry has left what is needed.
 */

#define KPROBE(function, ...)                                                              \
	SEC("kprobe/" #function)                                                           \
	int BPF_KPROBE(kprobe_##function, struct socket *socket, void *second,             \
		       __u64 third, __u64 fourth)                                          \
	{                                                                                  \
		__VA_ARGS__;                                                               \
		return 0;                                                                  \
	}

#define KRETPROBE(function, ...)                                                           \
	SEC("kretprobe/" #function)                                                        \
	int BPF_KRETPROBE(kretprobe_##function, int result)                                \
	{                                                                                  \
		__VA_ARGS__;                                                               \
		return 0;                                                                  \
	}

KPROBE(inet_sendmsg, layer_sending(socket, second, false))
KRETPROBE(inet_sendmsg, layer_returned(true, result, false, false))
KPROBE(inet6_sendmsg, layer_sending(socket, second, false))
KRETPROBE(inet6_sendmsg, layer_returned(true, result, false, false))
KPROBE(unix_stream_sendmsg, layer_sending(socket, second, false))
KRETPROBE(unix_stream_sendmsg, layer_returned(true, result, false, false))

KPROBE(inet_recvmsg, layer_entered(socket, second, fourth, false))
KRETPROBE(inet_recvmsg, layer_returned(false, result, false, false))
KPROBE(inet6_recvmsg, layer_entered(socket, second, fourth, false))
KRETPROBE(inet6_recvmsg, layer_returned(false, result, false, false))
KPROBE(unix_stream_recvmsg, layer_entered(socket, second, fourth, false))
KRETPROBE(unix_stream_recvmsg, layer_returned(false, result, false, false))

KPROBE(tcp_splice_read, layer_entered(socket, NULL, 0, false))
KRETPROBE(tcp_splice_read, layer_returned(false, result, false, false))
KPROBE(unix_stream_splice_read, layer_entered(socket, NULL, 0, false))
KRETPROBE(unix_stream_splice_read, layer_returned(false, result, false, false))

KPROBE(inet_sendpage, layer_entered(socket, NULL, 0, false))
KRETPROBE(inet_sendpage, layer_returned(true, result, false, false))
KPROBE(unix_stream_sendpage, layer_entered(socket, NULL, 0, false))
KRETPROBE(unix_stream_sendpage, layer_returned(true, result, false, false))

KPROBE(inet_stream_connect, layer_connecting(socket, second, false))
KRETPROBE(inet_stream_connect, layer_connected(result))
KPROBE(unix_stream_connect, layer_connecting(socket, second, false))
KRETPROBE(unix_stream_connect, layer_connected(result))

/* The result is told by the socket that was handed in. */
KPROBE(inet_accept, layer_noting(second))
KRETPROBE(inet_accept, layer_accepted(layer_noted(), false))
KPROBE(unix_accept, layer_noting(second))
KRETPROBE(unix_accept, layer_accepted(layer_noted(), false))

KPROBE(unix_release, layer_releasing(socket))
KPROBE(sock_common_getsockopt, layer_asked(socket, (__u64)second, third))

SEC("kprobe/__sock_create")
int BPF_KPROBE(kprobe_sock_create, void *net, int family, int type, int protocol, void *created)
{
	layer_noting(created);
	return 0;
}

SEC("kretprobe/__sock_create")
int BPF_KRETPROBE(kretprobe_sock_create, int result)
{
	struct socket **created = layer_noted();

	if (created && !result)
		layer_created(created, false);
	return 0;
}

#define KPROBE_SYSCALL(name, ...)                                                          \
	SEC("kprobe/" SYSCALL_PREFIX #name)                                                \
	int BPF_KPROBE(kprobe_##name, struct pt_regs *regs)                                \
	{                                                                                  \
		__VA_ARGS__;                                                               \
		return 0;                                                                  \
	}

KPROBE_SYSCALL(epoll_wait, layer_waited(false))
KPROBE_SYSCALL(epoll_pwait, layer_waited(false))
KPROBE_SYSCALL(epoll_pwait2, layer_waited(false))
KPROBE_SYSCALL(select, layer_waited(false))
KPROBE_SYSCALL(pselect6, layer_waited(false))
KPROBE_SYSCALL(io_uring_enter, layer_waited(false))
KPROBE_SYSCALL(poll, layer_polls(regs, false))
KPROBE_SYSCALL(ppoll, layer_polls(regs, false))

KRETPROBE(pipe_read, layer_woken(result, false))
KRETPROBE(anon_pipe_read, layer_woken(result, false))
KRETPROBE(fifo_pipe_read, layer_woken(result, false))
KRETPROBE(eventfd_read, layer_woken(result, false))
KRETPROBE(timerfd_read_iter, layer_woken(result, false))
KRETPROBE(signalfd_read_iter, layer_woken(result, false))
KRETPROBE(timerfd_read, layer_woken(result, false))
KRETPROBE(signalfd_read, layer_woken(result, false))
KRETPROBE(inotify_read, layer_woken(result, false))

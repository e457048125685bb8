/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Empty programs on the hooks that a syscall front end could use: what remains
 * of their cost is the price of the hook. test/bench/floor.ts attaches them in
 * groups, by the prefix of their names, and compares. Never part of the agent.
 *
 *   raw_*   raw tracepoints sys_enter and sys_exit: every system call runs them
 *   btf_*   the same tracepoints, arguments typed by BTF
 *   sock_*  what the socket layer says after each send and receive (Linux 6.3): runs for
 *           socket I/O only, with the socket at hand
 *   data_*  what reaches a socket's receive queue (Linux 6.3)
 *   call_*  one tracepoint per system call, through perf events
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define EMPTY(name, section)                                                              \
	SEC(section)                                                                      \
	int name(void *context)                                                           \
	{                                                                                 \
		return 0;                                                                 \
	}

#define CALL(call)                                                                        \
	EMPTY(call_enter_##call, "tracepoint/syscalls/sys_enter_" #call)                  \
	EMPTY(call_exit_##call, "tracepoint/syscalls/sys_exit_" #call)

EMPTY(raw_enter, "raw_tp/sys_enter")
EMPTY(raw_exit, "raw_tp/sys_exit")
EMPTY(btf_enter, "tp_btf/sys_enter")
EMPTY(btf_exit, "tp_btf/sys_exit")
EMPTY(sock_send, "tp_btf/sock_send_length")
EMPTY(sock_recv, "tp_btf/sock_recv_length")
EMPTY(data_ready, "tp_btf/sk_data_ready")

/* The calls that bpf/socket_syscall.bpf.c reads. */
CALL(read)
CALL(readv)
CALL(recvfrom)
CALL(recvmsg)
CALL(recvmmsg)
CALL(write)
CALL(writev)
CALL(sendto)
CALL(sendmsg)
CALL(sendmmsg)
CALL(sendfile64)
CALL(splice)
CALL(accept)
CALL(accept4)
CALL(connect)
CALL(close)
CALL(shutdown)

char LICENSE[] SEC("license") = "Dual BSD/GPL";

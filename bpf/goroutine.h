/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Go programs, from Go 1.18 on: arguments come in registers, and one register always
 * holds the g of the goroutine that runs. It still does so within a system call, so
 * which goroutine reads and writes needs no probe. A goroutine moves between threads:
 * what it took last is kept with it, and not with the thread.
 */
#ifndef UNDERSPAN_GOROUTINE_H
#define UNDERSPAN_GOROUTINE_H

#if defined(__TARGET_ARCH_x86)
#define GO_FIRST(context) ((context)->ax)
#define GO_SECOND(context) ((context)->bx)
#define GO_THIRD(context) ((context)->cx)
#define GO_ROUTINE(context) ((context)->r14)
#define GO_FRAME(context) ((context)->bp)
#else
#define GO_FIRST(context) ((context)->regs[0])
#define GO_SECOND(context) ((context)->regs[1])
#define GO_THIRD(context) ((context)->regs[2])
#define GO_ROUTINE(context) ((context)->regs[28])
#define GO_FRAME(context) ((context)->regs[29])
#endif

struct go_stack {
	__u64 low, high;
};

/* The goroutine that made the system call at hand. C code that Go calls uses the
 * register for something else: what is in it has to be a g, whose stack this is. */
static __noinline void routine_calls(struct thread_state *thread)
{
#ifdef PLAIN
	cause_of_routine(thread, 0); /* the helpers' results are typed by the kernel's BTF */
#else
	struct pt_regs *regs;
	struct go_stack own = {};
	__u64 routine, stack;

	/* Linux 5.15; before, calls of Go programs have no parent. */
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		cause_of_routine(thread, 0);
		return;
	}
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	routine = GO_ROUTINE(regs);
	stack = STACK(regs);
	if (bpf_probe_read_user(&own, sizeof(own), (void *)routine) || stack < own.low ||
	    stack >= own.high)
		routine = 0;
	cause_of_routine(thread, routine);
#endif
}

/* net.netFD with its poll.FD, as far as it is looked at. */
struct go_net_fd {
	__u64 mutex_state;
	__u32 read_semaphore, write_semaphore;
	__s64 fd;
	__u64 either[2]; /* in an order that has changed */
	__u32 close_semaphore, is_blocking;
	__u8 is_stream, zero_is_eof, is_file, padding[5];
	__s64 family;
	__s64 type;
};

/* The descriptor of a net.TCPConn or a net.UnixConn, -1 if it is neither. */
static __always_inline __s64 go_net_descriptor(__u64 conn)
{
	struct go_net_fd net_fd = {};
	__u64 address = 0;

	if (bpf_probe_read_user(&address, sizeof(address), (void *)conn) ||
	    bpf_probe_read_user(&net_fd, sizeof(net_fd), (void *)address))
		return -1;
	if (net_fd.is_stream != 1 || net_fd.zero_is_eof != 1 || net_fd.is_file != 0 ||
	    net_fd.type != SOCK_STREAM ||
	    (net_fd.family != AF_INET && net_fd.family != AF_INET6 && net_fd.family != AF_UNIX))
		return -1;
	return net_fd.fd;
}

#endif

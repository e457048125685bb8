/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * HotSpot's own marks for those who watch it, hotspot:thread__park__begin and its kin: see
 * java.h. Where the mark is, its argument is in a register that the compiler has chosen,
 * so there is a program for each of those that it may be in.
 */

/* hotspot:thread__unpark(parker): in the register for the first argument of a function. */
SEC("uprobe")
int java_unpark(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		java_unparks(thread, ARGUMENT1(ctx));
	return 0;
}

/* hotspot:thread__park__end */
SEC("uprobe")
int java_park_end(struct pt_regs *ctx)
{
	struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());

	if (thread)
		java_goes_on(thread);
	return 0;
}

/* hotspot:thread__park__begin(parker, ...) */
#define JAVA_PARK(number, register)                                                            \
	SEC("uprobe")                                                                          \
	int java_park_##number(struct pt_regs *ctx)                                            \
	{                                                                                      \
		struct thread_state *thread = thread_selected(bpf_get_current_pid_tgid());    \
                                                                                               \
		if (thread)                                                                    \
			java_parks(thread, ctx->register);                                     \
		return 0;                                                                      \
	}

#if defined(__TARGET_ARCH_x86)
JAVA_PARK(0, bx)
JAVA_PARK(1, cx)
JAVA_PARK(2, r12)
JAVA_PARK(3, r13)
JAVA_PARK(4, r14)
JAVA_PARK(5, r15)
#else
JAVA_PARK(0, regs[19])
JAVA_PARK(1, regs[20])
JAVA_PARK(2, regs[21])
JAVA_PARK(3, regs[22])
JAVA_PARK(4, regs[23])
JAVA_PARK(5, regs[24])
#endif

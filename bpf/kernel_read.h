/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Reads of kernel structures on the hot path. Linux 6.2 (a35b9af4ec2c) lets a program
 * turn an address into a typed pointer whose loads the JIT emits inline, with faults
 * handled; a probe read is a helper call. Measured over the four socket calls of an
 * nginx request: about 470 ns less a call for 17 fields (npm run bench -- kernel).
 * The loader tries the typed way first and falls back.
 */
#ifndef UNDERSPAN_KERNEL_READ_H
#define UNDERSPAN_KERNEL_READ_H

const volatile __u32 has_rdonly_cast = 0;

/* Where the kernel has no BTF of its own (PLAIN) no tracepoint is typed by it, and its functions
 * cannot so much as be named. The arguments are the same. */
#ifdef PLAIN
#define TRACEPOINT(name) SEC("raw_tp/" #name)
#define bpf_rdonly_cast(object, btf_id) (object)
#else
#define TRACEPOINT(name) SEC("tp_btf/" #name)
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;
#endif

/* One field of `type` at address `pointer`; 0 if it cannot be read. The address is taken
 * first: within the read, fields of our own on the way to it would be looked for in the kernel. */
#define KERNEL_READ(type, pointer, field)                                            \
	({                                                                           \
		typeof(((type *)0)->field) value_ = 0;                               \
		void *from_ = (void *)(pointer);                                     \
		if (has_rdonly_cast)                                                 \
			value_ = ((type *)bpf_rdonly_cast(                           \
					  from_, bpf_core_type_id_kernel(type)))     \
					 ->field;                                    \
		else                                                                 \
			BPF_CORE_READ_INTO(&value_, (type *)from_, field);           \
		value_;                                                              \
	})

/* Of the registers that a tracepoint is given, which are typed already. */
#ifdef PLAIN
#define REGISTER(regs, name) KERNEL_READ(struct pt_regs, regs, name)
#else
#define REGISTER(regs, name) ((regs)->name)
#endif

/* The same for a bit-field. */
#define KERNEL_READ_BITS(type, pointer, field)                                               \
	(has_rdonly_cast ? BPF_CORE_READ_BITFIELD((type *)bpf_rdonly_cast(                    \
							  (void *)(pointer),                 \
							  bpf_core_type_id_kernel(type)),    \
						  field) :                                   \
			   BPF_CORE_READ_BITFIELD_PROBED((type *)(pointer), field))

#endif

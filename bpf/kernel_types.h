/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The few kernel types that the programs look into, with only the fields they
 * read. CO-RE relocates every access to the running kernel's layout, so neither
 * order nor offsets matter here, and no dump of a whole kernel is needed.
 */
#ifndef UNDERSPAN_KERNEL_TYPES_H
#define UNDERSPAN_KERNEL_TYPES_H

#include <asm/posix_types.h>
#include <linux/types.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic64_t;

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, r10, r9, r8, bx, cx, dx, si, di, sp, bp, ip, ax, orig_ax;
};
struct thread_info {
	__u32 status; /* TS_COMPAT */
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 orig_x0;
	__s32 syscallno;
};
struct user_pt_regs {
	__u64 regs[31];
	__u64 sp, pc;
};
struct thread_info {
	unsigned long flags; /* TIF_32BIT */
};
#else
#error "unsupported architecture"
#endif

/* A structure of the kernel that begins with a pointer: one of an array is read as such. */
struct list_head {
	struct list_head *next;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct super_block {
	unsigned long s_magic;
};

struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
};

/* Linux 6.13 (90ee6ed776c0) replaced file.f_count by a biased file_ref. */
typedef struct {
	atomic64_t refcnt;
} file_ref_t;

struct file {
	struct inode *f_inode;
	void *f_op;
	void *private_data;
	file_ref_t f_ref;
};

struct file___before_6_13 {
	atomic64_t f_count;
};

struct mm_struct {
	unsigned long arg_start, arg_end;
};

struct signal_struct {
	atomic_t live;
};

struct task_struct {
	struct thread_info thread_info;
	int pid, tgid;
	__u64 start_boottime;
	struct task_struct *real_parent;
	struct files_struct *files;
	struct mm_struct *mm;
	struct signal_struct *signal;
	char comm[16];
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
		__u32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned long skc_flags;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sk_buff_head {
	__u32 qlen;
};

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	struct sk_buff_head sk_receive_queue;
	int sk_err;
	__u16 sk_type;
	__u16 sk_protocol;
	__u32 sk_max_ack_backlog;
};

struct inet_sock {
	__u16 inet_sport;
};

struct socket {
	short type;
	struct sock *sk;
	struct file *file;
};

struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct tcp_sock {
	__u32 write_seq;
	__u32 copied_seq;
	__u32 rcv_nxt;
	__u64 tcp_mstamp; /* of the packet that was handled last, monotonic microseconds */
	__u32 srtt_us;
	__u32 total_retrans;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 chrono_start; /* in ticks, like chrono_stat */
	__u32 chrono_stat[3];
	__u8 chrono_type : 2;
};

struct sockaddr_un {
	unsigned short sun_family;
	char sun_path[108];
};

struct unix_address {
	int len; /* of name */
	struct sockaddr_un name[];
};

struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

struct sk_buff;
struct linux_binprm;

#pragma clang attribute pop

/* Arguments and result of a function by the C calling convention. */
#if defined(__TARGET_ARCH_x86)
#define ARGUMENT1(context) ((context)->di)
#define ARGUMENT2(context) ((context)->si)
#define ARGUMENT3(context) ((context)->dx)
#define ARGUMENT4(context) ((context)->cx)
#define RESULT(context) ((context)->ax)
#define RESULT2(context) ((context)->dx)
#define STACK(context) ((context)->sp)
#else
#define ARGUMENT1(context) ((context)->regs[0])
#define ARGUMENT2(context) ((context)->regs[1])
#define ARGUMENT3(context) ((context)->regs[2])
#define ARGUMENT4(context) ((context)->regs[3])
#define RESULT(context) ((context)->regs[0])
#define RESULT2(context) ((context)->regs[1])
#define STACK(context) ((context)->sp)
#endif

/* User-space layouts (ABI, never relocated). */
struct user_iovec {
	__u64 base;
	__u64 length;
};

struct user_msghdr {
	__u64 name;
	__u32 name_length;
	__u32 padding;
	__u64 iov;
	__u64 iov_count;
	__u64 control;
	__u64 control_length;
	__u32 flags;
	__u32 padding_end;
};

struct user_mmsghdr {
	struct user_msghdr header;
	__u32 length;
	__u32 padding;
};

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define TCP_INFO 11
#define S_IFMT 00170000
#define S_IFSOCK 0140000
#define S_IFIFO 0010000
#define ANON_INODE_FS_MAGIC 0x09041934 /* eventfd, timerfd, signalfd */
#define TS_COMPAT 0x0002
#define TIF_32BIT_ARM64 22

#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_TRUNC 0x20

#define SOCK_DONE 1 /* enum sock_flags: the peer's FIN is in */

#define EINTR 4
#define EAGAIN 11
#define EINPROGRESS 115
#define ERESTARTSYS 512 /* to ERESTART_RESTARTBLOCK: the call is restarted, nothing happened */

/* enum of include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_TIME_WAIT 6
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9
#define TCP_LISTEN 10
#define TCP_CLOSING 11
#define TCP_NEW_SYN_RECV 12

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The syscall front end: sys_enter and sys_exit, one BTF-typed raw tracepoint
 * each, for kernels that allow neither trampolines nor kprobes. Compared here
 * with per-syscall tracepoints by test/bench (`npm run bench -- floor`): the pair
 * of raw tracepoints costs every system call of the machine about 150 ns; per-syscall
 * ones cost the calls that they are for about 255 ns and all others 55. At exit pt_regs still hold the arguments, so
 * entry is looked at only for what exit cannot know: when a write began, and
 * which socket a close is about to end.
 */

enum syscall_kind {
	SYSCALL_OTHER = 0,
	SYSCALL_READ, /* fd, buffer, length */
	SYSCALL_READV, /* fd, iovec, count */
	SYSCALL_RECVFROM, /* fd, buffer, length, flags */
	SYSCALL_RECVMSG, /* fd, msghdr, flags */
	SYSCALL_RECVMMSG, /* fd, mmsghdr, count, flags */
	SYSCALL_WRITE,
	SYSCALL_WRITEV,
	SYSCALL_SENDTO,
	SYSCALL_SENDMSG,
	SYSCALL_SENDMMSG,
	SYSCALL_SENDFILE, /* out_fd, in_fd */
	SYSCALL_SPLICE, /* fd_in, offset, fd_out */
	SYSCALL_ACCEPT,
	SYSCALL_CONNECT, /* fd, sockaddr */
	SYSCALL_CLOSE,
	SYSCALL_SOCKET, /* family, type, protocol */
	SYSCALL_WAIT, /* epoll_pwait2, io_uring_enter */
	SYSCALL_SELECT, /* count, read set, write set */
	SYSCALL_POLL, /* pollfds, count */
	SYSCALL_EPOLL, /* epfd, events, count, timeout */
	SYSCALL_GETSOCKOPT, /* fd, level, option */
};

/* Numbers from arch/x86/entry/syscalls/syscall_64.tbl and
 * include/uapi/asm-generic/unistd.h. */
static const __u8 syscall_kinds[512] = {
#if defined(__TARGET_ARCH_x86)
	[0] = SYSCALL_READ,	  [19] = SYSCALL_READV,	   [327] = SYSCALL_READV,
	[45] = SYSCALL_RECVFROM,  [47] = SYSCALL_RECVMSG,  [299] = SYSCALL_RECVMMSG,
	[1] = SYSCALL_WRITE,	  [20] = SYSCALL_WRITEV,   [328] = SYSCALL_WRITEV,
	[44] = SYSCALL_SENDTO,	  [46] = SYSCALL_SENDMSG,  [307] = SYSCALL_SENDMMSG,
	[40] = SYSCALL_SENDFILE,  [275] = SYSCALL_SPLICE,  [43] = SYSCALL_ACCEPT,
	[288] = SYSCALL_ACCEPT,	  [42] = SYSCALL_CONNECT,  [3] = SYSCALL_CLOSE,
	[41] = SYSCALL_SOCKET,	  [232] = SYSCALL_EPOLL,   [281] = SYSCALL_EPOLL,
	[441] = SYSCALL_WAIT,	  [23] = SYSCALL_SELECT,   [270] = SYSCALL_SELECT,
	[426] = SYSCALL_WAIT,	  [7] = SYSCALL_POLL,	   [271] = SYSCALL_POLL,
	[55] = SYSCALL_GETSOCKOPT,
#else
	[63] = SYSCALL_READ,	  [65] = SYSCALL_READV,	   [286] = SYSCALL_READV,
	[207] = SYSCALL_RECVFROM, [212] = SYSCALL_RECVMSG, [243] = SYSCALL_RECVMMSG,
	[64] = SYSCALL_WRITE,	  [66] = SYSCALL_WRITEV,   [287] = SYSCALL_WRITEV,
	[206] = SYSCALL_SENDTO,	  [211] = SYSCALL_SENDMSG, [269] = SYSCALL_SENDMMSG,
	[71] = SYSCALL_SENDFILE,  [76] = SYSCALL_SPLICE,   [202] = SYSCALL_ACCEPT,
	[242] = SYSCALL_ACCEPT,	  [203] = SYSCALL_CONNECT, [57] = SYSCALL_CLOSE,
	[198] = SYSCALL_SOCKET,	  [22] = SYSCALL_EPOLL,	   [441] = SYSCALL_WAIT,
	[72] = SYSCALL_SELECT,	  [426] = SYSCALL_WAIT,	   [73] = SYSCALL_POLL,
	[209] = SYSCALL_GETSOCKOPT,
#endif
};

#define MMSG_MAX 8 /* messages of a call that get records of their own */
#define MMSG_SUM_MAX 64 /* messages of a call whose bytes are counted */

struct call_args {
	__u64 fd, second, third, fourth;
};

static __always_inline __u32 kind_of(long number)
{
	return number >= 0 && number < 512 ? syscall_kinds[number & 511] : SYSCALL_OTHER;
}

static __always_inline struct file *file_at(__u64 fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct files_struct *open = KERNEL_READ(struct task_struct, task, files);
	struct fdtable *table = KERNEL_READ(struct files_struct, open, fdt);
	struct file **files;

	if (!table || fd >= KERNEL_READ(struct fdtable, table, max_fds))
		return NULL;
	files = KERNEL_READ(struct fdtable, table, fd);
	return (struct file *)KERNEL_READ(struct list_head, files + fd, next);
}

/* socket_file_ops of net/socket.c, which every socket's file has and no other: its address,
 * learnt from the first socket. Its inode lies in memory that the call has not touched. */
__u64 socket_operations = 0;

static __noinline bool is_socket_file(struct file *file)
{
	struct inode *inode = KERNEL_READ(struct file, file, f_inode);
	struct socket *socket = KERNEL_READ(struct file, file, private_data);

	/* A socket's name in a file system, opened by O_PATH, is a file without a socket. */
	if ((KERNEL_READ(struct inode, inode, i_mode) & S_IFMT) != S_IFSOCK || !socket ||
	    KERNEL_READ(struct socket, socket, file) != file)
		return false;
	socket_operations = (__u64)KERNEL_READ(struct file, file, f_op);
	return true;
}

/* fd -> the socket it is of, if any. */
static __always_inline struct sock *sock_at(__u64 fd)
{
	struct file *file = file_at(fd);
	__u64 known = socket_operations;
	struct socket *socket;

	if (!file)
		return NULL;
	if (known ? (__u64)KERNEL_READ(struct file, file, f_op) != known : !is_socket_file(file))
		return NULL;
	socket = KERNEL_READ(struct file, file, private_data);
	return KERNEL_READ(struct socket, socket, sk);
}

/* Does reading it set a thread to work: a pipe, an eventfd, a timerfd, a signalfd? Of a pipe
 * that is written to nobody knows. */
static __always_inline bool is_wakeup(__u64 fd, bool writes)
{
	struct file *file = file_at(fd);
	struct inode *inode;

	if (!file)
		return false;
	inode = KERNEL_READ(struct file, file, f_inode);
	if ((KERNEL_READ(struct inode, inode, i_mode) & S_IFMT) == S_IFIFO)
		return !writes;
	return BPF_CORE_READ(inode, i_sb, s_magic) == ANON_INODE_FS_MAGIC;
}

static __always_inline bool is_write(__u32 kind)
{
	return kind >= SYSCALL_WRITE && kind <= SYSCALL_SPLICE;
}

static __always_inline bool is_last_reference(struct file *file)
{
	struct file___before_6_13 *old = (void *)file;

	if (bpf_core_field_exists(file->f_ref))
		return BPF_CORE_READ(file, f_ref.refcnt.counter) == 0;
	return BPF_CORE_READ(old, f_count.counter) == 1;
}

/* A unix socket is about to be closed for good. */
static __noinline void close_entered(__u64 fd)
{
	struct file *file = file_at(fd);
	struct sock *sk;

	if (!file || !is_last_reference(file))
		return;
	sk = sock_at(fd);
	if (sk)
		unix_closing(sk);
}

#define SELECT_WORDS 8 /* of a set that are looked at: 512 descriptors */

static __always_inline __u32 bits_of(__u64 set, __u64 count)
{
	__u32 bits = 0;
	__u64 word;

	for (__u32 i = 0; i < SELECT_WORDS && set; i++) {
		if (count <= i * 64)
			break;
		if (bpf_probe_read_user(&word, sizeof(word), (void *)(set + i * 8)))
			return POLL_OWN_MAX + 1;
		if (count < (i + 1) * 64)
			word &= (1ULL << (count & 63)) - 1;
		bits += __builtin_popcountll(word);
	}
	return bits;
}

/* Does it wait for so few as a poll that is none of a loop? On return its sets say what is ready only. */
static __noinline bool selects_few(__u64 count, __u64 reads, __u64 writes)
{
	if (count > SELECT_WORDS * 64)
		return false;
	return bits_of(reads, count) + bits_of(writes, count) <= POLL_OWN_MAX;
}

TRACEPOINT(sys_enter)
int BPF_PROG(sys_enter, struct pt_regs *regs, long number)
{
	__u32 kind = kind_of(number);
	struct thread_state *thread;

	if (!is_write(kind) && kind != SYSCALL_CLOSE && kind != SYSCALL_CONNECT &&
	    kind != SYSCALL_SELECT)
		return 0;
	thread = thread_selected(bpf_get_current_pid_tgid());
	if (!thread)
		return 0;
	if (kind == SYSCALL_CLOSE) {
#if defined(__TARGET_ARCH_x86)
		close_entered(REGISTER(regs, di));
#else
		close_entered(REGISTER(regs, regs[0]));
#endif
		return 0;
	}
	if (kind == SYSCALL_SELECT) {
#if defined(__TARGET_ARCH_x86)
		thread->selects_few =
			selects_few(REGISTER(regs, di), REGISTER(regs, si), REGISTER(regs, dx));
#else
		thread->selects_few = selects_few(REGISTER(regs, regs[0]), REGISTER(regs, regs[1]),
						  REGISTER(regs, regs[2]));
#endif
		return 0;
	}
	thread->enter_ns = bpf_ktime_get_boot_ns();
	return 0;
}

static __noinline void connected(struct sock *sk, __u64 address, long result,
				 struct thread_state *thread)
{
	struct socket_name name = {};

	if (!socket_connected(sk, result, thread))
		return;
	if (bpf_probe_read_user(&name, sizeof(name), (void *)address) &&
	    bpf_probe_read_user(&name, SHORT_NAME_BYTES, (void *)address))
		return;
	never_connected(sk, &name, -result, thread);
}

/* Fills buffer, iovecs and flags of a msghdr. */
static __noinline void read_msghdr(struct io *io, __u64 address)
{
	struct user_msghdr header = {};

	if (bpf_probe_read_user(&header, sizeof(header), (void *)address)) {
		count_loss(LOSS_READ_FAULT);
		io->buffer_kind = BUFFER_NONE;
		return;
	}
	io->buffer_kind = BUFFER_IOVEC;
	io->buffer = header.iov;
	io->iov_count = header.iov_count;
}

/* One message of such a call has gone through. 0: it cannot be read. A function of its own, for
 * the verifier: it walks this once, not once for each message. */
__noinline int message_moved(__u64 message)
{
	struct capture_scratch *scratch = scratch_at(LANE_ATOMIC);
	struct connection *c;
	__u32 length;
	struct io *io;

	if (!scratch)
		return 0;
	io = &scratch->io;
	c = connection_at(io->slot);
	if (!c || bpf_probe_read_user(&length, sizeof(length),
				      (void *)(message + sizeof(struct user_msghdr))))
		return 0;
	read_msghdr(io, message);
	io->bytes = length;
	if (length)
		socket_moved(io->slot, LANE_ATOMIC, io, c);
	io->seq += length;
	return 1;
}

/* sendmmsg and recvmmsg on a stream: `count` messages, in order. The call at hand
 * came with the position behind the last byte. */
__noinline int transferred_many(__u64 messages, __u32 count)
{
	struct capture_scratch *scratch = scratch_at(LANE_ATOMIC);
	__u32 total = 0, begin, length;
	struct connection *c;
	struct io *io;

	if (!scratch)
		return 0;
	io = &scratch->io;
	for (__u32 i = 0; i < MMSG_SUM_MAX && i < count; i++) {
		if (bpf_probe_read_user(&length, sizeof(length),
					(void *)(messages + i * sizeof(struct user_mmsghdr) +
						 sizeof(struct user_msghdr)))) {
			count_loss(LOSS_READ_FAULT);
			return 0;
		}
		total += length;
	}
	c = connection_at(io->slot);
	if (!c)
		return 0;
	if (c->flags & CONNECTION_UNIX) {
		if (io->direction == DIRECTION_INGRESS)
			io->seq = c->counted_ingress += total;
		else
			io->seq = c->counted_egress += total;
	}
	io->seq -= total;
	begin = io->seq;
	for (__u32 i = 0; i < MMSG_MAX && i < count; i++)
		if (!message_moved(messages + i * sizeof(struct user_mmsghdr)))
			return 0;
	length = io->seq - begin;
	if (total > length) {
		count_loss(LOSS_IOV_TOO_LONG);
		io->bytes = total - length;
		io->buffer_kind = BUFFER_NONE;
		socket_moved(io->slot, LANE_ATOMIC, io, c);
	}
	return 0;
}

/* All its messages have been told. */
static __noinline void moved_many(struct thread_state *thread)
{
	struct capture_scratch *scratch = scratch_at(LANE_ATOMIC);
	struct connection *c;
	struct io *io;

	if (!scratch)
		return;
	io = &scratch->io;
	c = connection_at(io->slot);
	if (!c)
		return;
	if (io->direction == DIRECTION_INGRESS)
		cause_taken(thread, c, io->slot, io->seq, 0);
	note_queue(io, c, (struct sock *)c->sk);
}

/* Is the argument after the buffer a flags word, and which argument is it? */
static __always_inline __u32 message_flags(__u32 kind, struct call_args *a)
{
	if (kind == SYSCALL_RECVFROM || kind == SYSCALL_SENDTO || kind == SYSCALL_RECVMMSG ||
	    kind == SYSCALL_SENDMMSG)
		return a->fourth;
	if (kind == SYSCALL_RECVMSG || kind == SYSCALL_SENDMSG)
		return a->third;
	return 0;
}

/* Read anew each time: of what it has compared, or seen stored on a stack, the verifier knows the
 * value, and it walks all that follows once for each. */
#define FORGOTTEN(value) (*(const volatile typeof(value) *)&(value))

static __always_inline bool is_of_many(struct socket_call *call)
{
	__u32 kind = FORGOTTEN(call->kind);

	return kind == SYSCALL_SENDMMSG || kind == SYSCALL_RECVMMSG;
}

/* Of the call at hand, whose kind and result are known: what else call_returned asks for, but the
 * socket. False if it moves nothing. */
static __always_inline bool fill_call(struct socket_call *call, struct call_args *a)
{
	__u32 kind = FORGOTTEN(call->kind);
	bool many = is_of_many(call);

	call->lane = LANE_ATOMIC;
	call->flags = message_flags(kind, a);
	call->writes = is_write(kind);
	call->zero_ends = !is_write(kind) && !many && (a->third || kind == SYSCALL_RECVMSG);
	if (many && call->result > 0)
		call->result = 0;
	return !(FORGOTTEN(call->flags) & (MSG_PEEK | MSG_OOB));
}

/* The call was not on a socket. */
static __always_inline void no_socket(struct socket_call *call, __u64 fd,
				      struct thread_state *thread)
{
	__u32 kind = FORGOTTEN(call->kind);

	if (kind == SYSCALL_READ && FORGOTTEN(call->result) > 0 && is_wakeup(fd, false))
		cause_signalled(thread);
	else if (kind == SYSCALL_WRITE && thread->context && is_wakeup(fd, true))
		python_signals(thread); /* by an eventfd: uvloop */
}

/* Where the bytes of the call at hand are. */
static __always_inline void fill_buffer(struct socket_call *call, struct io *io,
					struct call_args *a)
{
	switch (FORGOTTEN(call->kind)) {
	case SYSCALL_READ:
	case SYSCALL_WRITE:
	case SYSCALL_RECVFROM:
	case SYSCALL_SENDTO:
		io->buffer_kind = BUFFER_PLAIN;
		io->buffer = a->second;
		break;
	case SYSCALL_READV:
	case SYSCALL_WRITEV:
		io->buffer_kind = BUFFER_IOVEC;
		io->buffer = a->second;
		io->iov_count = a->third;
		break;
	case SYSCALL_RECVMSG:
	case SYSCALL_SENDMSG:
		read_msghdr(io, a->second);
		break;
	}
	if (FORGOTTEN(io->direction) == DIRECTION_INGRESS && FORGOTTEN(call->flags) & MSG_TRUNC)
		io->buffer_kind = BUFFER_NONE; /* tcp(7): the bytes are discarded */
}

/* The call in the lane's scratch, whose kind and result are filled, has returned. True if the bytes of
 * its messages are still to be told (transferred_many): not from here, for the stack's sake. */
static __noinline bool transferred(struct capture_scratch *scratch, struct call_args *a,
				   struct thread_state *thread)
{
	struct socket_call *call = &scratch->call;
	struct connection *c;

	if (!fill_call(call, a))
		return false;
	call->sk = sock_at(a->fd);
	if (!call->sk) {
		no_socket(call, a->fd, thread);
		return false;
	}
	c = call_returned(call, &scratch->io, thread);
	if (!c)
		return false;
	if (is_of_many(call))
		return true;
	if (!FORGOTTEN(call->result))
		return false;
	fill_buffer(call, &scratch->io, a);
	call_moved(call, &scratch->io, c, thread);
	return false;
}

/* Of so few octets it is a question. */
static __always_inline int read_nothing(struct pt_regs *regs)
{
	struct thread_state *thread;
	struct sock *sk;
	__u64 fd;

#if defined(__TARGET_ARCH_x86)
	if (REGISTER(regs, dx) != 1)
		return 0;
	fd = REGISTER(regs, di);
#else
	if (REGISTER(regs, regs[2]) != 1)
		return 0;
	fd = REGISTER(regs, orig_x0);
#endif
	thread = thread_selected(bpf_get_current_pid_tgid());
	sk = thread ? sock_at(fd) : NULL;
	if (sk)
		socket_checked(sk, thread);
	return 0;
}

TRACEPOINT(sys_exit)
int BPF_PROG(sys_exit, struct pt_regs *regs, long result)
{
	struct capture_scratch *scratch;
	struct thread_state *thread;
	struct call_args a;
	__u32 kind;

#if defined(__TARGET_ARCH_x86)
	kind = kind_of((long)REGISTER(regs, orig_ax));
#else
	kind = kind_of(REGISTER(regs, syscallno));
#endif
	/* Nothing moved: by far the most frequent failure of non-blocking programs. */
	if (kind == SYSCALL_READ && result == -EAGAIN)
		return read_nothing(regs);
	if (kind == SYSCALL_OTHER || kind == SYSCALL_CLOSE ||
	    (kind < SYSCALL_WAIT &&
	     (result == -EAGAIN || result == -EINTR || result <= -ERESTARTSYS)))
		return 0;
	thread = thread_selected(bpf_get_current_pid_tgid());
	if (!thread)
		return 0;
	if (kind == SYSCALL_WAIT || kind == SYSCALL_SELECT) {
		if (kind == SYSCALL_WAIT || !thread->selects_few)
			cause_waited(thread);
		thread->selects_few = 0;
		return 0;
	}
#if defined(__TARGET_ARCH_x86)
	a.fd = REGISTER(regs, di);
	a.second = REGISTER(regs, si);
	a.third = REGISTER(regs, dx);
	a.fourth = REGISTER(regs, r10);
#else
	a.fd = REGISTER(regs, orig_x0);
	a.second = REGISTER(regs, regs[1]);
	a.third = REGISTER(regs, regs[2]);
	a.fourth = REGISTER(regs, regs[3]);
#endif
	if (kind == SYSCALL_EPOLL) {
		cause_polled(thread, result, (__s32)a.fourth);
		return 0;
	}
	if (kind == SYSCALL_POLL) {
		if (a.second > POLL_OWN_MAX)
			cause_waited(thread);
		return 0;
	}
	if (kind == SYSCALL_GETSOCKOPT) {
		struct sock *sk;

		if (a.second == IPPROTO_TCP && a.third == TCP_INFO) {
			sk = sock_at(a.fd);
			if (sk)
				socket_asked(sk, thread);
		}
		return 0;
	}
	if (kind == SYSCALL_ACCEPT || kind == SYSCALL_SOCKET || kind == SYSCALL_CONNECT) {
		struct sock *sk = NULL;

		if (kind == SYSCALL_CONNECT || result >= 0)
			sk = sock_at(kind == SYSCALL_CONNECT ? a.fd : (__u64)result);
		if (!sk)
			return 0;
		if (kind == SYSCALL_ACCEPT)
			socket_accepted(sk, thread);
		else if (kind == SYSCALL_SOCKET)
			socket_created(sk);
		else
			connected(sk, a.second, result, thread);
		return 0;
	}
	scratch = scratch_at(LANE_ATOMIC);
	if (!scratch)
		return 0;
	scratch->call.result = result;
	if (kind == SYSCALL_SPLICE && result > 0) {
		__u64 out = a.third;

		scratch->call.kind = SYSCALL_READ;
		transferred(scratch, &a, thread);
		a.fd = out;
		scratch->call.result = result;
	}
	scratch->call.kind = kind;
	if (transferred(scratch, &a, thread)) {
		transferred_many(a.second, result);
		moved_many(thread);
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * rustls, 0.20 to 0.23 (src/discovery/rustls.ts finds its functions). Its connection is a
 * value that moves about in memory, so no address names a session: the socket does. The
 * library reads records by one function and writes them by another, with the socket call
 * nested in both. What it decrypts or gives out comes from the object that was read
 * into just before, on the same thread; what it was given to encrypt is told of when it
 * has gone to the socket, from the caller's buffer, which is still being written then.
 * An address is believed only as far as such a pair has shown whose it is.
 *
 * Returns are probed where the RET instructions are: a return probe would end a program
 * that unwinds its stack through it.
 */

/* All parts of a connection lie within: it has 1,100 bytes and more, so that a part of
 * its neighbour is further off. */
#define RUST_CONNECTION_BYTES 1024
#define RUST_FAR_BYTES 8192 /* likewise, where nothing else can be meant */
#define RUST_RECORD_BYTES 65536
#define RUST_BORROWED (1ULL << 63) /* the capacity of a vector that is none */

struct rust_thread {
	struct tls_call write; /* given to the library and not told of, if it has bytes */
	__u64 sink; /* the object that it was given to */
	__u64 first, last; /* words of it */
	__u64 carrying; /* the object that reads or writes records */
	__u64 filled; /* the object that has read records last */
	__u64 source; /* the object that plaintext is being read from, */
	__u64 into; /* to here */
	struct session_ref filled_for;
	__u32 is_fresh; /* nothing has been taken since it has */
	__u32 bytes;
};

/* by thread id. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct rust_thread);
} rust_threads SEC(".maps");

/* A thread of which nothing is known: what a new one begins as, for the stack's sake. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rust_thread);
} no_rust_thread SEC(".maps");

/* by address of an object and process: whose it was when that was last seen. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct session_key);
	__type(value, struct session_ref);
} rust_objects SEC(".maps");

static __always_inline struct rust_thread *rust_thread_of(__u64 pid_tgid)
{
	__u32 tid = pid_tgid, zero = 0;
	struct rust_thread *rust = bpf_map_lookup_elem(&rust_threads, &tid), *fresh;

	if (rust)
		return rust;
	fresh = bpf_map_lookup_elem(&no_rust_thread, &zero);
	if (!fresh || bpf_map_update_elem(&rust_threads, &tid, fresh, BPF_ANY)) {
		count_loss(LOSS_THREADS_FULL);
		return NULL;
	}
	return bpf_map_lookup_elem(&rust_threads, &tid);
}

/* From now on the object belongs to this session. */
static __noinline void rust_learn(__u64 object, __u64 pid_tgid, struct session_ref *ref)
{
	struct session_key key = { .session = object, .pid = pid_tgid >> 32 };
	struct session_ref *known = bpf_map_lookup_elem(&rust_objects, &key);

	if (known && known->slot == ref->slot && known->generation == ref->generation)
		return;
	if (bpf_map_update_elem(&rust_objects, &key, ref, BPF_ANY))
		count_loss(LOSS_SESSIONS_FULL);
}

static __always_inline struct session_ref *rust_known(__u64 object, __u64 pid_tgid)
{
	struct session_key key = { .session = object, .pid = pid_tgid >> 32 };

	return bpf_map_lookup_elem(&rust_objects, &key);
}

/* The library is about to move records between an object and a socket. */
SEC("uprobe")
int rust_carry_enter(struct pt_regs *ctx)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct rust_thread *rust = thread ? rust_thread_of(pid_tgid) : NULL;
	struct tls_call *call;

	if (!rust)
		return 0;
	call = &thread->tls;
	/* Within another library's call, unless that one's return was missed. */
	if (call->kind && call->kind != TLS_CALL_CARRY && STACK(ctx) < call->stack)
		return 0;
	call->kind = TLS_CALL_CARRY;
	call->session = SESSION_OF_SOCKET;
	call->nested_stack = 0;
	call->stack = STACK(ctx);
	rust->carrying = ARGUMENT1(ctx);
	return 0;
}

/* It has: the session whose socket it was, false if none was seen. */
static __always_inline bool rust_carried(struct thread_state *thread, struct session_ref *ref)
{
	struct tls_call *call = &thread->tls;
	bool is_seen;

	if (call->kind != TLS_CALL_CARRY)
		return false;
	call->kind = 0;
	is_seen = call->session != SESSION_OF_SOCKET;
	ref->slot = call->session - 1;
	ref->generation = call->generation;
	return is_seen;
}

SEC("uprobe")
int rust_read_return(struct pt_regs *ctx)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct rust_thread *rust = thread ? rust_thread_of(pid_tgid) : NULL;

	if (!rust)
		return 0;
	rust->is_fresh = rust_carried(thread, &rust->filled_for);
	rust->filled = rust->carrying;
	return 0;
}

/* An io::Result<usize>: 0 and the number, or 1 and the error. 0 of an error. Both are read
 * where the context is still as the verifier knows it. */
static __always_inline __u32 rust_count(struct pt_regs *ctx)
{
	__u64 is_error = RESULT(ctx), bytes = RESULT2(ctx);

	asm volatile("" : "+r"(is_error), "+r"(bytes));
	return is_error & 1 || bytes > 0x7fffffff ? 0 : bytes;
}

/* `bytes` of plaintext came out of `object`. */
static __noinline void rust_taken(__u64 object, __u64 buffer, __u32 bytes)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct rust_thread *rust = thread ? rust_thread_of(pid_tgid) : NULL;
	struct tls_call call = { .kind = TLS_CALL_READ, .buffer = buffer };
	struct session_ref *known;

	if (!rust)
		return;
	if (rust->is_fresh && object - rust->filled + RUST_FAR_BYTES < 2 * RUST_FAR_BYTES) {
		rust->is_fresh = 0;
		rust_learn(object, pid_tgid, &rust->filled_for);
		known = &rust->filled_for;
	} else {
		known = rust_known(object, pid_tgid);
	}
	if (!known) {
		count_loss(LOSS_SESSION_UNKNOWN);
		return;
	}
	call.session = known->slot + 1;
	call.generation = known->generation;
	tls_moved(thread, &call, bytes, bpf_ktime_get_boot_ns());
}

/* CommonState::take_received_plaintext(&mut self, Payload): decrypted. A payload is a
 * vector or a slice: its address is behind its capacity, or, by older compilers,
 * before. */
SEC("uprobe")
int rust_taken_enter(struct pt_regs *ctx)
{
	__u64 words[3];

	if (bpf_probe_read_user(words, sizeof(words), (void *)ARGUMENT2(ctx))) {
		count_loss(LOSS_READ_FAULT);
		return 0;
	}
	if (!words[2] || words[2] > RUST_RECORD_BYTES)
		return 0;
	rust_taken(ARGUMENT1(ctx), words[0] > RUST_RECORD_BYTES && words[0] < RUST_BORROWED ?
					   words[0] : words[1], words[2]);
	return 0;
}

/* <Reader as io::Read>::read(&mut self, &mut [u8]): a reader begins with the address of
 * the connection's plaintext. */
SEC("uprobe")
int rust_reader_enter(struct pt_regs *ctx)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct rust_thread *rust = thread ? rust_thread_of(pid_tgid) : NULL;

	if (!rust)
		return 0;
	rust->into = ARGUMENT2(ctx);
	if (bpf_probe_read_user(&rust->source, sizeof(rust->source), (void *)ARGUMENT1(ctx))) {
		rust->source = 0;
		count_loss(LOSS_READ_FAULT);
	}
	return 0;
}

SEC("uprobe")
int rust_reader_return(struct pt_regs *ctx)
{
	__u32 bytes = rust_count(ctx);
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct rust_thread *rust = thread ? rust_thread_of(pid_tgid) : NULL;

	if (!rust || !rust->source)
		return 0;
	if (bytes)
		rust_taken(rust->source, rust->into, bytes);
	rust->source = 0;
	return 0;
}

/* Words of what is being written, by which it is known again. */
static __always_inline bool rust_words(struct rust_thread *rust, __u64 *first, __u64 *last)
{
	struct user_iovec iov = { .base = rust->write.buffer, .length = rust->bytes };

	if (rust->write.iov_count &&
	    bpf_probe_read_user(&iov, sizeof(iov), (void *)rust->write.buffer))
		return false;
	*first = *last = 0;
	if (iov.length < sizeof(*first))
		return !bpf_probe_read_user(first, iov.length & 7, (void *)iov.base);
	return !bpf_probe_read_user(first, sizeof(*first), (void *)iov.base) &&
	       !bpf_probe_read_user(last, sizeof(*last),
				    (void *)(iov.base + iov.length - sizeof(*last)));
}

/* What the thread gave to the library has gone through the session of `ref`. */
static __noinline void rust_tell(struct thread_state *thread, struct rust_thread *rust,
				 struct session_ref *ref)
{
	__u32 bytes = rust->bytes;
	__u64 first, last;

	if (!rust_words(rust, &first, &last) || first != rust->first || last != rust->last)
		rust->write.buffer = 0;
	rust->bytes = 0;
	rust->write.session = ref->slot + 1;
	rust->write.generation = ref->generation;
	tls_moved(thread, &rust->write, bytes, bpf_ktime_get_boot_ns());
}

/* <ConnectionCommon as PlaintextSink>::write(&mut self, &[u8]), or write_vectored. */
static __always_inline void rust_give(struct pt_regs *ctx, __u32 iov_count)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct rust_thread *rust = thread ? rust_thread_of(pid_tgid) : NULL;
	struct session_ref *known;

	if (!rust)
		return;
	if (rust->bytes) {
		known = rust_known(rust->sink, pid_tgid);
		if (known)
			rust_tell(thread, rust, known);
		else
			count_loss(LOSS_SESSION_UNKNOWN);
		rust->bytes = 0;
	}
	rust->sink = ARGUMENT1(ctx);
	rust->write.kind = TLS_CALL_WRITE;
	rust->write.buffer = ARGUMENT2(ctx);
	rust->write.iov_count = iov_count;
	rust->write.enter_ns = bpf_ktime_get_boot_ns();
}

SEC("uprobe")
int rust_write_enter(struct pt_regs *ctx)
{
	rust_give(ctx, 0);
	return 0;
}

SEC("uprobe")
int rust_vectored_enter(struct pt_regs *ctx)
{
	if (ARGUMENT3(ctx))
		rust_give(ctx, ARGUMENT3(ctx));
	return 0;
}

SEC("uprobe")
int rust_write_return(struct pt_regs *ctx)
{
	__u32 bytes = rust_count(ctx);
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct rust_thread *rust = thread ? rust_thread_of(pid_tgid) : NULL;

	if (!rust || !bytes || !rust->write.buffer)
		return 0;
	rust->bytes = bytes;
	if (!rust_words(rust, &rust->first, &rust->last))
		rust->write.buffer = 0;
	return 0;
}

/* ChunkVecBuffer::write_to(&mut self, &mut dyn io::Write): of what is ready for the socket. */
SEC("uprobe")
int rust_sent_return(struct pt_regs *ctx)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct thread_state *thread = thread_selected(pid_tgid);
	struct rust_thread *rust = thread ? rust_thread_of(pid_tgid) : NULL;
	struct session_ref ref = {}, *known = &ref;
	bool is_seen;

	if (!rust)
		return 0;
	is_seen = rust_carried(thread, &ref);
	if (!rust->bytes || rust->carrying - rust->sink >= RUST_CONNECTION_BYTES)
		return 0;
	if (is_seen)
		rust_learn(rust->sink, pid_tgid, &ref);
	else /* its socket is full */
		known = rust_known(rust->sink, pid_tgid);
	if (known)
		rust_tell(thread, rust, known);
	else
		count_loss(LOSS_SESSION_UNKNOWN);
	rust->bytes = 0;
	return 0;
}

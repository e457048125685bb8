/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The contract between bpf/ and src/: every record on the rings, every shared
 * map value, every enum. src/records/records.gen.ts is generated from the BTF
 * of these types (bpf/codegen/records.ts); a drift fails the build.
 *
 * Rules: fixed-width types, 8-byte members first, explicit padding, no
 * pointers, no bit-fields; record kinds and enum values are only ever appended.
 * Recordings are read by field names, whatever layout they were made with: a name
 * keeps its meaning, and 0 in a new field has to stand for "not known". Times are
 * nanoseconds of the boot clock (CLOCK_BOOTTIME) unless said otherwise; 0 means
 * "not known". Sequence numbers are TCP's own (write_seq, copied_seq, RFC 9293
 * section 3.4), modulo 2^32; a unix stream socket gets byte counters instead.
 */
#ifndef UNDERSPAN_EVENT_H
#define UNDERSPAN_EVENT_H

#define EVENT_ARGS_MAX 1024 /* bytes of argv kept of an exec */
#define EVENT_COMM_MAX 16 /* TASK_COMM_LEN */
#define ARRIVALS_MAX 4 /* power of two */
#define EVENT_PATH_MAX 112 /* of a unix socket: sun_path has 108 */
#define EVENT_CHUNK_MAX 4096 /* bytes of payload in one data_event */

enum event_kind {
	EVENT_DATA = 1, /* data ring: bytes went through a socket */
	EVENT_CONNECTION_OPENED = 2, /* control ring from here on */
	EVENT_CONNECTION_STATE = 3,
	EVENT_CONNECTION_CLOSED = 4,
	EVENT_CONNECT_FAILED = 5,
	EVENT_PROCESS_EXEC = 6,
	EVENT_PROCESS_FORK = 7,
	EVENT_PROCESS_EXIT = 8,
	EVENT_PROGRESS = 9, /* made in user space from the connections map: see kernel/progress.ts */
	EVENT_CONNECTION_LOST = 10, /* likewise: see kernel/lost-connections.ts */
	EVENT_WORK = 11, /* control ring: see bpf/go_channel.h */
	EVENT_WAKE = 12, /* likewise: see bpf/java.h */
};

/* Which way bytes go, as the observed process sees it. */
enum event_direction {
	DIRECTION_INGRESS = 0, /* read from the socket */
	DIRECTION_EGRESS = 1, /* written to the socket */
	DIRECTION_NONE = 255, /* no byte seen yet */
};

/* How the observed process came by the socket. */
enum event_role {
	ROLE_UNKNOWN = 0, /* older than the agent */
	ROLE_CLIENT = 1, /* it called connect */
	ROLE_SERVER = 2, /* it called accept */
};

enum event_data_flag {
	DATA_EDGE = 1, /* first call of a run: the direction changed, prev_* describe the run before */
	DATA_TRUNCATED = 2, /* the call moved more bytes than chunk_bytes: the rest was not captured */
	DATA_NO_CONTENT = 4, /* the bytes could not be read (sendfile, splice, fault): counts and times only */
	DATA_EOF = 8, /* the read returned 0: the peer has finished sending */
	DATA_ERROR = 16, /* the call failed: error_number says why, call_bytes is 0 */
	DATA_MORE = 64, /* a further chunk of the same call follows */
};

/* Facts of a connection, as bits of its flags. */
enum event_connection_flag {
	CONNECTION_PREEXISTING = 1, /* first seen in mid-life */
	CONNECTION_UNIX = 2, /* AF_UNIX stream socket */
	CONNECTION_FIN_SENT = 4,
	CONNECTION_FIN_RECEIVED = 8,
	CONNECTION_RESET_SENT = 16,
	CONNECTION_RESET_RECEIVED = 32,
	CONNECTION_PAIR_UNSURE = 64, /* counters not followed from birth on cannot name a request */
	CONNECTION_ANNOUNCED = 128, /* its opened record has been made */
	CONNECTION_TLS = 256, /* a TLS session: its bytes are plaintext; see bpf/session.h */
	CONNECTION_ENDED = 512, /* tcp: the state has become CLOSE */
};

/* What is known of the moment between a take and the write at hand: bits of event_cause.flags. */
enum event_cause_flag {
	CAUSE_TAKEN = 1, /* slot, generation and seq say what was taken; 0: nothing that is known */
	CAUSE_ENDED = 2, /* the take was an end of stream, or an error */
	CAUSE_WAITED = 4, /* since then the thread has waited for any of several descriptors: epoll, poll, select, io_uring */
	CAUSE_WOKEN = 8, /* since then it has accepted a connection, or read an eventfd, a timerfd, a pipe */
	CAUSE_LOOPS = 16, /* of the thread, not of the take: it has waited so at some time */
	CAUSE_GUARDED = 64, /* of the thread: its loop's timers and deferred callbacks are watched, and mean CAUSE_WOKEN */
	CAUSE_INHERITED = 32, /* the take was the parent's, before it forked this process or started this goroutine */
	CAUSE_SOLE = 256, /* the thread's loop was idle, then one descriptor was reported, and no timer can have run since; with CAUSE_RESUMED, of Node.js: what is sent was made for that take */
	CAUSE_ROUTINE = 128, /* it is a goroutine's, not the thread's; with CAUSE_INHERITED: see CAUSE_START_SHIFT, and with CAUSE_GUARDED: the process's channels are followed since it was started */
	CAUSE_TASK = 512, /* it is an asyncio task's: see CAUSE_START_SHIFT */
	CAUSE_STRAYED = 1024, /* with CAUSE_TASK: tasks that were started for the request call, and nobody waits for them */
	CAUSE_CAME = 2048, /* another thread has taken it, and this one has come to it: see socket_asked in bpf/socket_call.h, and bpf/java.h, also for responses */
	CAUSE_TOLD = 4096, /* the program itself says that the thread is at it: see bpf/unit.h */
	CAUSE_ITEM = 8192, /* the goroutine works on what one at the request put into a channel: see bpf/go_channel.h */
	CAUSE_DIRECT = 16384, /* it has turned to nothing else since what was taken was asked for (of a response), or since it gave work away; with CAUSE_RESUMED, of Node.js: it runs what was made at that take */
	CAUSE_RESUMED = 32768, /* it goes on with that take after work that it had given to threads of its own (libuv's) */
};

/* Of a loop with CAUSE_GUARDED, whose bits of tasks are free. */
enum event_cause_loop_flag {
	CAUSE_QUIET = 1024, /* it has run no timer since what was taken was asked for (of a response) */
	CAUSE_ONCE = 1 << 16, /* of Node.js, whose threads have no names: what was made at that take runs once only (setImmediate), */
	CAUSE_NEXT = 1 << 17, /* and the loop has turned to nothing else in between */
};

/* Of a loop without, with CAUSE_SOLE. */
enum event_cause_sole_flag {
	CAUSE_SHARED = 1024, /* there are other threads, who may have put something into its queues since */
};

/* The bits above it are a digest, never 0. Of a goroutine: how it was started. Of a task:
 * its name; with CAUSE_INHERITED, the name of the first one that was at the request: its own
 * stands in the flags of `cause` then. With CAUSE_ITEM: the item's name. */
enum event_cause_start {
	CAUSE_START_SHIFT = 16,
};

/* CAUSE_TASK and CAUSE_CAME, of `request`: a thread runs tasks of tokio (bpf/tokio.h). Without CAUSE_TAKEN,
 * nobody knows for which request. Above CAUSE_START_SHIFT the number of the waking by a task at the request, 0: that one itself. */

/* CAUSE_ROUTINE and CAUSE_CAME, of `request`: it is a virtual thread's, of Java (bpf/virtual_thread.h); with a
 * read, too, from a connection that the process has opened. */

/* CAUSE_CAME and CAUSE_INHERITED, of `request`: a thread of Java does what another one has set
 * it to work for, that is at the request; without CAUSE_TAKEN, one that is not known, not before
 * `generation`, in microseconds modulo 2^32. With CAUSE_DIRECT: whoever sends it, the thread at
 * the request has taken the connection out of a pool for it, see cause_checks in bpf/cause.h; with
 * CAUSE_SOLE, too, it waits for the response, see enum client_pool; with CAUSE_RESUMED it has set
 * a thread of the client's to work that did so. */

/* Whose is a connection that has been asked whether it is still open? */
enum client_pool {
	POOL_NONE = 0, /* it has not */
	POOL_ANY = 1, /* of Java's HttpClient */
	POOL_OWN = 2, /* of one that runs what there is to do on threads which it has made for that */
};

/* User space's word on a connection, written into connection.verdict. */
enum event_verdict {
	VERDICT_HEAD = 0, /* capture the head of each run, more of what may be a pipeline, every read of a run that begins amid a body, after a 101 the head of each call */
	VERDICT_STREAM = 1, /* capture every call */
	VERDICT_IGNORE = 2, /* count bytes, emit no data records */
	VERDICT_EDGES = 4, /* tell of edges, capture nothing */
};

/* What is known of the frames of one direction of a WebSocket. */
enum event_frames {
	FRAMES_NONE = 0, /* it has none, or nothing is known of it */
	FRAMES_LINE = 1, /* an answer begins like a 101 */
	FRAMES_HEAD = 2, /* it is one, whose head goes on */
	FRAMES_COUNTED = 3, /* all so far */
	FRAMES_UNREAD = 4, /* a header could not be read: there is no number */
	FRAMES_STRANGE = 5, /* what came is no frame */
};

/* What was lost or skipped in the kernel; index of the per-CPU loss counters. */
enum event_loss {
	LOSS_DATA_RING_FULL = 0,
	LOSS_CONTROL_RING_FULL = 1,
	LOSS_SLOTS_EXHAUSTED = 2, /* more connections than max_connections: not tracked */
	LOSS_SOCKETS_FULL = 3, /* the socket -> slot table refused an entry */
	LOSS_THREADS_FULL = 4, /* the table of threads refused an entry */
	LOSS_BIRTHS_FULL = 5,
	LOSS_PROCESSES_FULL = 6,
	LOSS_READ_FAULT = 7, /* payload page not resident or unmapped */
	LOSS_KERNEL_READ = 8, /* a kernel structure could not be read */
	LOSS_SLOT_RETURN = 9, /* a freed slot could not be put back */
	LOSS_IOV_TOO_LONG = 10, /* bytes beyond the iovecs or messages that are looked at */
	LOSS_COMPAT_TASK = 11, /* a 32-bit thread on a 64-bit kernel: its system calls are not read */
	LOSS_LANES_BUSY = 12, /* programs preempted each other too deeply on one CPU */
	LOSS_SESSIONS_FULL = 13, /* a table of TLS sessions refused an entry */
	LOSS_MISSED_RUNS = 14, /* programs that the kernel did not run; counted by the kernel itself */
	LOSS_REQUESTS_UNTOLD = 15, /* edges towards the server, of ended connections, that no record tells of: the rings were full */
	LOSS_SESSION_UNKNOWN = 16, /* plaintext of rustls of which nothing told whose it was */
	LOSS_COUNT = 17,
};

/* What the kernel side did; index of the per-CPU activity counters. */
enum event_stat {
	STAT_CALLS = 0, /* socket calls of selected processes that moved bytes */
	STAT_EDGES = 1, /* direction changes seen, whether or not their record left */
	STAT_DATA_RECORDS = 2,
	STAT_DATA_BYTES = 3, /* payload bytes captured */
	STAT_CONTROL_RECORDS = 4,
	STAT_CONNECTIONS_OPENED = 5,
	STAT_CONNECTIONS_CLOSED = 6,
	STAT_BYTES_INGRESS = 7,
	STAT_BYTES_EGRESS = 8,
	STAT_RUNS_REPEATED = 9, /* skipped by the kernel and done all the same, see tcp.bpf.c */
	STAT_CHANNEL_VALUES = 10, /* that went through channels of Go which are followed */
	STAT_QUEUE_ITEMS = 11, /* likewise through queues of Python */
	STAT_TASK_STEPS = 12, /* of asyncio's tasks where these are followed */
	STAT_GREENLET_SWITCHES = 13, /* likewise of greenlets */
	STAT_PROMISES = 14, /* of Node.js, settled where they are followed */
	STAT_THREAD_PARKS = 15, /* waits of Java's threads where these are followed */
	STAT_REQUEST_STEPS = 16, /* times that nginx went on with a request, where that is followed */
	STAT_TOKIO_STEPS = 17, /* turns of tasks of tokio where these are followed */
	STAT_COUNT = 18,
};

struct event_header {
	__u64 time_ns; /* when the record was made */
	__u32 size; /* bytes, header included; what follows in the ring slot is padding */
	__u16 kind; /* enum event_kind */
	__u16 reserved;
};

/* One run of same-direction calls that ended. */
struct event_run {
	__u64 first_ns; /* egress: entry of the first write; ingress: return of the first read */
	__u64 last_ns; /* return of the last call that moved bytes */
	__u64 bytes;
	__u32 calls;
	__u32 end_seq; /* sequence number after the last byte */
};

/* What a thread has taken last, when it does what it does now: bytes of a connection. */
struct event_cause {
	__u32 slot;
	__u32 generation;
	__u32 seq; /* sequence number behind the last byte taken */
	__u32 flags; /* enum event_cause_flag */
};

/* What the kernel's TCP knew of a connection after the last call that was looked at,
 * as getsockopt(TCP_INFO) would tell it. All zero for a unix socket. */
struct event_tcp {
	__u32 srtt_us; /* smoothed round trip time, 0 if none */
	__u32 total_retrans; /* segments retransmitted since the connection began */
	__u32 unsent_bytes; /* given to the kernel, not yet sent */
	__u32 unacked_bytes; /* sent, not yet acknowledged */
	__u32 rwnd_limited_ms; /* since the connection began: had bytes to send, the peer's window was shut */
	__u32 sndbuf_limited_ms; /* likewise: had sent all, the send buffer kept the application waiting */
};

/* Data records of a connection that found the ring full, since it began. Numbers of
 * edges among them are modulo 2^16. */
struct event_lost {
	__u32 records;
	__u16 edges_ingress;
	__u16 edges_egress;
};

/* Bytes went through a socket. payload[chunk_bytes] follows. */
struct data_event {
	struct event_header header; /* time_ns: return of the call */
	__u64 enter_ns; /* entry of the call; reads: 0 */
	__u64 arrived_ns; /* ingress: when the first byte still unread reached the receive queue */
	struct event_run prev; /* with DATA_EDGE: the run before, all zero for the first run; at an end: the open one */
	__u64 prev_tail; /* last 8 bytes before this call as far as they were not captured: see connection.tail */
	struct event_cause cause; /* egress: the thread's last take from any connection */
	struct event_cause request; /* egress: its last take from one that it has not opened itself */
	struct event_tcp tcp;
	struct event_lost lost;
	__u32 slot;
	__u32 generation;
	__u32 seq; /* sequence number of the first byte of payload */
	__u32 other_seq; /* position of the opposite direction at that moment */
	__u32 call_bytes; /* bytes the call moved from seq on */
	__u32 chunk_bytes; /* bytes of payload in this record */
	__u32 pid; /* thread group id, initial namespace */
	__u32 tid;
	__u32 pair_tag; /* tcp: 0; unix: names the socket pair, same on both sides; older session: session_anchor */
	__u32 run_calls; /* calls of this run so far, this one included */
	__u16 error_number; /* errno with DATA_ERROR */
	__u8 direction; /* enum event_direction */
	__u8 flags; /* enum event_data_flag */
	__u8 run_direction; /* of prev, with DATA_EOF or DATA_ERROR: the open run */
	__u8 reserved[3];
};

/* The addresses of a connection, as the observed process's socket has them. */
struct event_address {
	__u8 local[16]; /* IPv4 in the first four bytes, network order */
	__u8 remote[16];
	__u16 local_port; /* host order */
	__u16 remote_port;
	__u16 family; /* AF_INET, AF_INET6, AF_UNIX; v4-mapped arrives as AF_INET */
	__u16 reserved;
};

/* A connection is new to user space; or, for one that is not, more is known of it: the
 * socket of a TLS session. */
struct connection_opened_event {
	struct event_header header;
	__u64 created_ns; /* client: socket(2) returned */
	__u64 connect_ns; /* client: start of connect (SYN_SENT) */
	__u64 established_ns; /* handshake done */
	__u64 accepted_ns; /* server: accept returned */
	struct event_address address;
	struct event_cause cause; /* client: what the thread had taken last when it called connect */
	struct event_tcp tcp;
	__u32 slot;
	__u32 generation;
	__u32 pid;
	__u32 tid;
	__u32 netns; /* inode of the network namespace */
	__u32 inode; /* of the socket's file; 0 if it has none yet */
	__u32 carrier_slot; /* of a TLS session: the connection of its socket */
	__u32 carrier_generation; /* 0: not known, or no session */
	__u16 role; /* enum event_role */
	__u16 flags; /* enum event_connection_flag */
	__u32 include, exclude; /* selectors whose port criteria this connection meets */
	__u32 path_bytes; /* of path; 0 for tcp and unnamed sockets */
	char path[EVENT_PATH_MAX]; /* unix: the listening socket's, a leading NUL for an abstract one */
};

/* A local FIN: everything that this side had to say has been said. */
struct connection_state_event {
	struct event_header header;
	struct event_run prev; /* the open run */
	struct event_tcp tcp;
	struct event_lost lost;
	__u32 slot;
	__u32 generation;
	__u16 flags; /* enum event_connection_flag, as of now */
	__u16 error_number; /* sk_err */
	__u8 direction; /* of the open run */
	__u8 reserved[3];
};

/* The socket is gone; the slot's generation ends. */
struct connection_closed_event {
	struct event_header header;
	__u64 fin_sent_ns;
	__u64 fin_received_ns;
	__u64 reset_ns; /* the first reset; the flags say whose it was */
	__u64 first_read_ns, last_read_ns, first_write_ns, last_write_ns;
	__u64 bytes_ingress, bytes_egress;
	__u64 prev_tail; /* last 8 bytes of the open run: see connection.tail */
	struct event_run prev; /* the run that was open */
	struct event_tcp tcp;
	struct event_lost lost;
	__u64 frames_ingress, frames_egress; /* of a WebSocket: whole frames, if their state says so */
	__u32 unseen_ingress, unseen_egress; /* bytes moved by no call that was seen (io_uring) */
	__u32 calls_ingress, calls_egress;
	__u32 slot;
	__u32 generation;
	__u16 flags; /* enum event_connection_flag */
	__u16 error_number; /* sk_err when the state became CLOSE */
	__u8 direction; /* of the open run */
	__u8 frames_ingress_state, frames_egress_state; /* enum event_frames */
	__u8 reserved;
};

struct connect_failed_event {
	struct event_header header;
	__u64 connect_ns;
	struct event_address address;
	__u32 pid;
	__u32 tid;
	__u32 netns;
	__u16 error_number;
	__u16 reserved;
};

/* args[args_bytes] (NUL separated) follow. */
struct process_exec_event {
	struct event_header header;
	__u64 cgroup_id;
	__u64 start_ns;
	__u32 pid;
	__u32 parent_pid;
	__u32 args_bytes;
	__u32 reserved;
	char comm[EVENT_COMM_MAX];
};

struct process_fork_event {
	struct event_header header;
	__u32 pid; /* the new process */
	__u32 parent_pid;
};

struct process_exit_event {
	struct event_header header;
	__u32 pid;
	__u32 reserved;
};

/* What is known of the work of a goroutine on an item for which it has called. */
enum event_work {
	WORK_RETURNED = 1, /* the request that the item was put in for has got something from it since */
	WORK_STRAYED = 2, /* another request has: nobody knows whose its calls were */
	WORK_SPREAD = 3, /* likewise, from a goroutine that was started for the request */
	WORK_CROSSED = 4, /* of a task: what it, or who was started with it, calls may be for another request */
};

struct work_event {
	struct event_header header;
	__u32 pid;
	__u32 slot; /* of the request's connection */
	__u32 generation;
	__u16 name; /* of the item; of who was first at the request; WORK_SPREAD: CAUSE_START_SHIFT */
	__u16 outcome; /* enum event_work */
};

/* A thread that serves a request, and waits, is woken because of a response; or a response has come to a task of tokio that
 * is at a request. */
struct wake_event {
	struct event_header header;
	struct event_cause cause; /* the response: what the waker had taken last, or had come to */
	struct event_cause request;
	__u64 parked_ns; /* when it began to wait, 0: a task */
	__u64 woken_ns; /* when it had been woken before, 0: never */
	__u32 pid;
	__u32 tid; /* of the thread that is woken */
};

/* A connection that has ended and whose closed record found the ring full. */
struct connection_lost_event {
	struct event_header header;
	__u32 slot;
	__u32 generation;
};

/* State of the open run of a connection that user space asked about. */
struct progress_event {
	struct event_header header;
	__u64 last_ns; /* return of the last call of the run */
	__u64 bytes; /* of the run */
	__u64 tail; /* last 8 bytes of the last call, in wire order, last byte highest; 0 if not read */
	struct event_tcp tcp;
	struct event_lost lost;
	__u32 slot;
	__u32 generation;
	__u32 end_seq;
	__u32 calls;
	__u8 direction;
	__u8 reserved[7];
};

/* Frames of a WebSocket in one direction: bpf/frames.h. */
struct frame_reader {
	__u64 left; /* bytes of the frame under way still to come, its masking key included; of a header: the length so far */
	__u64 count; /* frames that have ended */
	__u32 seq; /* position up to which it has been read */
	__u8 state; /* enum event_frames */
	__u8 have; /* octets of the header under way: 1, or 2 and more */
	__u8 wants; /* octets of its length still to come */
	__u8 first; /* its first octet */
	__u32 is_masked; /* frames of this direction are */
	__u32 reserved;
};

/* Value of the `connections` map (array by slot, mapped into user space). Owner of each
 * field: the kernel, but for verdict, which user space writes. In lines of 64 bytes, by who
 * writes them how often: a line that a call does not touch, or that another CPU has not
 * changed, is a cache miss less. */
struct connection {
	/* Asked by all, hardly ever written. */
	__u64 sk; /* key in `sockets`; 0: slot is free */
	__u32 generation; /* odd while the slot is in use */
	__u32 verdict; /* enum event_verdict; written by user space */
	__u32 include, exclude; /* selectors whose port criteria match */
	__u32 session; /* 1 + slot of the TLS session that this socket carries */
	__u32 pair_tag;
	__u32 inode; /* of its file; tells unix sockets at the same address apart */
	__u16 flags;
	__u8 looks; /* spent on the search for TLS records of a known session */
	__u8 is_upgraded; /* a run began like a 101: see bpf/frames.h */
	struct event_cause handed; /* whose request comes next on it, as its program said; flags 0: it did not, see bpf/node.h */
	struct event_lost lost;

	/* Written by every call. */
	struct event_run run; /* the open run */
	__u64 bytes_ingress, bytes_egress;
	__u32 calls_ingress, calls_egress;
	__u32 capture_left; /* bytes of the open run still to be captured */
	__u8 role;
	__u8 direction; /* of the open run, enum event_direction */
	__u8 is_amid_body; /* the open run is of reads and does not begin with a message */
	__u8 bodyless; /* enum run_bodyless: requests of the open run that have no body */

	struct event_tcp tcp;
	__u64 tail; /* last 8 bytes of the run's last call once nothing more is captured */
	__u64 first_read_ns, last_read_ns, first_write_ns, last_write_ns;

	/* Written when packets arrive, often on another CPU. */
	__u64 arrival_ns[ARRIVALS_MAX]; /* tcp: a ring of the latest arrivals; 0: none */
	__u32 arrival_end[ARRIVALS_MAX]; /* sequence number behind the bytes of an arrival */
	__u64 ready_ns; /* unix: latest arrival of bytes */
	__u32 arrivals; /* how many there have been */
	__u16 error_number;
	__u16 told_requests; /* lost edges towards the server that a record has told user space of */

	/* Of unix sockets and TLS sessions; of beginning and end. */
	__u64 arrived_ns; /* unix: first unread byte reached the queue, 0: queue empty; session: latest record */
	__u32 counted_ingress, counted_egress; /* positions of unix sockets and TLS sessions */
	__u32 carrier; /* of a session: 1 + slot of its socket */
	__u32 carrier_generation;
	__u32 begin_ingress_seq, begin_egress_seq; /* tcp: positions when it was first seen; session: where its socket's run began */
	__u32 end_ingress_seq, end_egress_seq; /* tcp: and when its state became CLOSE */
	struct event_cause cause; /* of its connect */
	__u32 pid; /* who opened it */
	__u32 netns;

	__u64 created_ns, connect_ns, established_ns, accepted_ns;
	__u64 fin_sent_ns, fin_received_ns, reset_ns;
	struct event_address address;
	__u64 handed_name; /* of the task that has given `handed`: CAUSE_START_SHIFT */
	__u64 asked_slice; /* client: what its thread was at when it wrote last, see slice_name in bpf/cause.h */
	__u32 asked_timers; /* client: thread_state.timers when it was asked last */
	__u8 pool; /* enum client_pool */
	__u8 reserved_asked;
	__u16 asked_name; /* client of Python: of who was first at the request for which was asked last; 0: not known */
	__u32 asked_slot, asked_seq; /* likewise: where that request was taken */

	struct frame_reader frames_ingress, frames_egress; /* once an answer began like a 101 */
};

/* Value of `counters`, one per CPU. */
struct counters {
	__u64 losses[LOSS_COUNT];
	__u64 stats[STAT_COUNT];
};

/* Value of `settings` (one, mapped into user space, written there). */
struct settings {
	__u32 selection_epoch; /* raised after any change of `processes` or of what follows */
	__u32 default_include; /* selectors met by a process that is not in `processes` */
	__u32 default_exclude;
	__u32 any_include; /* selectors without port criteria: met by every connection */
	__u32 any_exclude;
	__u32 has_ports; /* `local_ports` or `peer_ports` has entries */
	__u32 head_bytes; /* captured of each run, at most 4 * EVENT_CHUNK_MAX */
	__u32 judges_exec; /* some selector looks at processes: a new program is captured until it is judged */
	__u32 ignores_items; /* queues of Python are followed no more: what a thread took out last says nothing */
	__u32 ignores_tasks; /* nor are contexts and greenlets: what a thread was in last says nothing */
	__u32 ignores_tokio; /* nor are tasks of tokio */
	__u32 ignores_channels; /* nor are channels of Go */
};

/* Value of `local_ports` and `peer_ports` (hash by port): selectors that name it. */
struct port_selection {
	__u32 include;
	__u32 exclude;
};

/* Value of `processes` (hash by thread group id): which selectors it meets. */
struct process_selection {
	__u32 include; /* bit per include selector whose process criteria match */
	__u32 exclude;
};

_Static_assert(sizeof(struct event_header) == 16, "event_header");
_Static_assert(sizeof(struct event_run) == 32, "event_run");
_Static_assert(sizeof(struct event_tcp) == 24, "event_tcp");
_Static_assert(sizeof(struct event_lost) == 8, "event_lost");
_Static_assert(sizeof(struct data_event) == 184, "data_event");
_Static_assert(sizeof(struct connection_state_event) == 96, "connection_state_event");
_Static_assert(sizeof(struct connection_opened_event) == 288, "connection_opened_event");
_Static_assert(sizeof(struct event_address) == 40, "event_address");
_Static_assert(sizeof(struct connection) == 512, "connection");

#endif

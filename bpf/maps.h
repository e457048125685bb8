/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Every map and global of the kernel side, and nothing else. Sizes marked
 * "knob" are set by user space before the load (src/kernel/bpf-object.ts).
 */
#ifndef UNDERSPAN_MAPS_H
#define UNDERSPAN_MAPS_H

/* Known before the load; the verifier removes what they switch off. */
const volatile __u32 agent_pid = 0; /* thread group of the agent: never observed */
const volatile __u32 tick_ns = 0; /* of the kernel's timer (1 / CONFIG_HZ) */
const volatile __u32 has_copies = 0; /* of the programs that can be preempted: socket_fentry.bpf.c */
const volatile __u32 seat_mask = 0xffff; /* of the seats in `threads` */

/* Records that may be dropped under a flood: payload. Knob. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} data_ring SEC(".maps");

/* Records that must arrive: connections and processes coming and going. Knob. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} control_ring SEC(".maps");

/* by slot; mapped into user space. Knob: max_connections. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct connection);
} connections SEC(".maps");

/* struct sock * -> slot. Knob: max_connections. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u32);
} sockets SEC(".maps");

/* Of the sockets at about the same address: the slot of one that was looked up, and how many
 * are in `sockets`. Two words instead of a helper's call and more lines of memory: most packets
 * arrive at sockets that nobody follows. Whose a slot is, the slot says. The kernel puts sockets
 * side by side, and so are these: those of a few sockets share a line, which is then at hand. */
#define HINT_BITS 14
#define HINT_GRAIN_BITS 10 /* no socket is smaller */
#define HINT_LINE_BITS 3 /* so many of these in 64 bytes */

struct socket_hint {
	__u32 slot;
	__u32 followed;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << HINT_BITS);
	__type(key, __u32);
	__type(value, struct socket_hint);
} socket_hints SEC(".maps");

/* How many are in `sockets` of those whose hints share a line: so little memory that it is at hand
 * for every packet, and most packets arrive at sockets near which nobody follows one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << (HINT_BITS - HINT_LINE_BITS));
	__type(key, __u32);
	__type(value, __u32);
} followed_near SEC(".maps");

/* Slots that are free, all of them at the start. Knob: max_connections. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 65536);
	__uint(value_size, sizeof(__u32));
} free_slots SEC(".maps");

struct birth {
	__u64 created_ns;
	__u64 established_ns;
	__u64 arrived_ns, latest_ns; /* the first bytes that arrived, and the latest */
	__u32 arrived_end, latest_end; /* positions behind them */
	__u32 ingress_seq, egress_seq; /* positions when it was established */
	__u64 reset_ns;
	__u64 reset_flag; /* whose reset: enum event_connection_flag */
};

/* struct sock * -> what happened to a socket before it became a connection: it was
 * created, or established and not yet accepted. The least recently used goes first:
 * it belongs to a listener, or to a process that is not observed. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct birth);
} births SEC(".maps");

struct session_key {
	__u64 session; /* address of the library's object */
	__u32 pid;
	__u32 reserved;
};

struct session_ref {
	__u32 slot;
	__u32 generation;
};

/* The TLS session of a library's object, as long as it has a slot. Knob: max_connections
 * and some to spare, so that none goes early. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct session_key);
	__type(value, struct session_ref);
} sessions SEC(".maps");

/* The call into a TLS library that a thread is in: bpf/tls.h. */
struct tls_call {
	__u32 kind; /* enum tls_call_kind, 0: in none */
	__u32 session; /* 1 + slot */
	__u64 buffer; /* of the plaintext */
	__u64 size_at; /* where the library puts the number of bytes, 0: it returns it */
	__u64 enter_ns;
	__u64 stack; /* pointer at the entry: names the call at its return */
	__u64 nested_stack; /* the same of a call within the call, 0: there is none */
	__u32 generation;
	__u32 counted; /* bytes that the positions of the session include since the entry */
	__u32 seq, other_seq; /* with counted: the positions at the entry */
	__u16 is_told;
	__u16 is_inner; /* one of the same session goes on around it: bpf/tls.h */
	__u32 iov_count; /* the buffer is that many iovecs, 0: it is one address */
};

/* A loop that was idle, with nothing left to run, has been told of one descriptor: all
 * that it does until it looks for more and finds some is because of that. */
enum sole_event {
	SOLE_NONE = 0,
	SOLE_REPORTED,
	SOLE_ACCEPTED, /* it was a listener's: connections, no bytes so far */
	SOLE_TAKEN, /* bytes were taken from one connection */
};

/* Bytes that a loop took from a connection before it entered the context of the one that
 * they are for. */
enum unclaimed_take {
	UNCLAIMED_NONE = 0,
	UNCLAIMED_REQUEST,
	UNCLAIMED_RESPONSE,
};

/* What the entry of a function of the socket layer leaves for its return. */
struct call_start {
	__u64 socket; /* struct socket *; 0: the thread is in no such call */
	__u64 buffer;
	__u32 count;
	__u32 skip;
	__u32 flags;
	__u16 buffer_kind;
	__u16 asks; /* it is for one octet */
};

enum job_state {
	JOB_NONE = 0,
	JOB_NEW = 1,
	JOB_BEGUN = 2, /* it has taken a connection for it */
};

/* Of a thread that runs several by turns. */
enum routine_kind {
	ROUTINES_NONE = 0,
	ROUTINES_GO = 1, /* goroutines that are followed */
	ROUTINES_VIRTUAL = 2, /* of Java: bpf/virtual_thread.h */
};

/* What every probe looks at comes first, in lines of 64 bytes. */
struct thread_state {
	__u64 pid_tgid; /* whose it is, as bpf_get_current_pid_tgid has it; 0: nobody's */
	__u32 epoch;
	__u32 include, exclude; /* of its process, as of epoch */
	__u8 runs_routines; /* enum routine_kind, of its process, as of epoch */
	__u8 sole; /* enum sole_event */
	__u8 has_units; /* it has been at one: bpf/unit.h */
	__u8 has_request; /* it has taken a request's bytes since it was at one */
	__u64 enter_ns; /* entry of the system call under way */
	struct event_cause cause; /* its last take from any connection */
	struct event_cause request; /* its last take from one that it has not opened itself */

	__u64 context; /* of Python: the context that was run last, 0: none */
	__u64 waited_ns; /* when epoll_wait returned last */
	__u64 last_waited_ns; /* waited_ns as it was before */
	__u64 due_ns; /* no timer of the loop is due before */
	__u32 sole_slot; /* with SOLE_TAKEN: from where */
	__u32 slices; /* things that it has turned to, one after the other */
	__u32 woken_slice; /* the one that began when it read an eventfd or a pipe last */
	__u32 looked_slice; /* the one in which it goes on with the addresses of a name */
	__u32 timers; /* how often its loop has run such as were due */
	__u8 has_taken; /* the run of the context at hand: a request's bytes */
	__u8 has_called; /* likewise: it has written to somebody */
	__u8 unclaimed; /* enum unclaimed_take: what `cause` says was taken in no context */
	__u8 runs_handles; /* of uvloop, see bpf/uvloop.h */
	__u8 is_done; /* what the copy of a program (socket_fentry.bpf.c) finds done */
	__u8 has_ids; /* of Node.js, see bpf/node.h */
	__u8 has_arrived; /* the run of the context at hand: at a request, whose bytes woke it */
	__u8 runs_greenlets; /* of Python: `context` is a greenlet, see bpf/greenlet.bpf.c */
	__u8 is_parked; /* of Java: it waits until somebody wakes it, see bpf/java.h */
	__u8 has_job; /* likewise: `job` is what it was woken for, enum job_state */
	__u8 has_permit; /* likewise: it was woken before it began to wait, and will not */
	__u8 selects_few; /* it is in a select of so few descriptors that it is none of a loop */
	__u8 runs_tasks; /* of tokio: it has run one */
	__u8 is_receiving; /* of Node.js: it takes messages of other threads, one after the other */
	__u8 may_carry; /* of Java: by its name it may run virtual threads, as of epoch */
	__u16 client; /* likewise: it was woken last by a thread of this HttpClient, see client_number */
	__u8 has_answer; /* the run of the context at hand: a response's bytes */
	__u8 has_opened; /* likewise: it is because of `opened` */
	struct tls_call tls;
	struct call_start call;
	union {
		struct { /* with runs_routines */
			__u64 routine; /* the one at hand, 0: none that is known */
			union {
				struct event_cause starting; /* what the goroutine that is being made will inherit */
				__u64 java_thread; /* with ROUTINES_VIRTUAL: the carrier's JavaThread */
			};
		};
		struct { /* of Python, see bpf/python_queue.h */
			__u64 item; /* what it has taken out of a queue and works on, 0: nothing known */
			__u64 item_queue; /* out of which */
			__u64 queue; /* the SimpleQueue from which it gets something */
		};
		struct { /* with has_job, see bpf/java.h */
			__u64 no_item; /* 0: it is no queue of Python's */
			struct event_cause job; /* the request of the thread that woke it */
		};
		struct { /* with has_units, see bpf/unit.h */
			__u64 unit; /* what the program says that the thread is at, 0: nothing */
			__u64 unit_stack; /* pointer when it came to that */
		};
	};
	union {
		__u64 outer_context; /* of Python: the one before: it may have run that one */
		__u64 looked_up; /* of libuv: struct addrinfo, and above LOOKED_SHIFT how it got there */
	};
	__u64 task; /* of tokio, see bpf/tokio.h: the one that is run, 0: none */
	union {
		__u64 parked_ns; /* of Java: when it began to wait last */
		__u64 called; /* of Python: what its context was run with, 0: nothing of the program's, 1: not known */
	};
	union {
		__u64 woken_ns; /* of Java: when it was woken last while it served a request */
		struct {
			__u32 slot, generation;
		} opened; /* of Python, with has_opened: a connection that has just been made */
	};
} __attribute__((aligned(64)));

/* Is a thread observed, since when is it in a call, and what has it taken last. Each has a seat until
 * it ends, by the low bits of its id or some steps on: found without a helper's call.
 * Nobody maps it: the flag lets lines of it be lines of memory. Knob: as many as there can be ids,
 * up to 65536, with seat_mask. */
#define SEAT_PLACES 8 /* where a thread may sit */
#define SEAT_STRIDE 16411
#define NO_SEAT ~0U

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct thread_state);
} threads SEC(".maps");

/* by seat: whose it is. Two threads may want the same: who makes the entry sits down. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} taken_seats SEC(".maps");

/* What a loop was at when it gave work to a thread of its own. */
struct work {
	struct event_cause cause;
	__u64 slice; /* slice_name in bpf/cause.h */
};

/* by libuv's struct uv__work, until it is done. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct session_key);
	__type(value, struct work);
} works SEC(".maps");

/* Where Node.js keeps the ids of what runs: of a program, see src/discovery/node-ids.ts. */
struct node_layout {
	__u32 handle_at; /* in its Environment: of the handle by which the loop tells of each turn */
	__u32 fields_at; /* likewise: of the pointer to them */
};

/* by thread group id; written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct node_layout);
} node_layouts SEC(".maps");

/* Where HotSpot keeps which virtual thread runs on a carrier. */
enum java_place {
	/* Offsets, 32 bits, in a JavaThread: of its stack, */
	JAVA_STACK_BASE = 0,
	JAVA_STACK_SIZE,
	/* of a pointer that is not 0 while it runs a virtual thread, and of that one's id, from Java 24 on; */
	JAVA_ENTRY,
	JAVA_OWNER,
	/* of handles of the object of the thread that it runs, and of its own. */
	JAVA_CARRIED,
	JAVA_OBJECT,
	JAVA_ID, /* of the id in such an object */
	JAVA_MOVING, /* of the flag in the heap that objects are being moved */
	JAVA_HEAP, /* a pointer to the heap */
	JAVA_PLACES,
};

struct java_layout {
	__u64 at[JAVA_PLACES]; /* addresses in the process; 0: there is none */
	__u32 offsets[JAVA_HEAP]; /* what is there, from the first look on */
	__u32 is_known;
	__u32 reserved;
};

/* by thread group id; written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct java_layout);
} java_layouts SEC(".maps");

#define NODE_TURNS 512 /* a power of two */

struct node_turn {
	__u64 from; /* the last id that had been given out */
	struct event_cause cause; /* what the loop was at from then on */
};

struct node_loop {
	__u64 fields; /* address of struct async_ids */
	__u64 opener; /* what has made the sockets with ids behind opened_from, up to opened_to; 0: none since the loop turned */
	__u32 opened_from, opened_to;
	__u64 settler; /* what settled the promises whose turn it is, 0: what the loop has turned to */
	struct event_cause opening; /* the loop has taken a response: why the connection was opened, */
	__u32 asked_from, asked_to; /* and what was made with the request */
	__u16 is_straight; /* it has taken a request */
	__u16 immediates; /* enum immediates: it runs them, each of them once */
	__u32 turn; /* the last one */
	struct node_turn turns[NODE_TURNS];
};

/* by thread id: loops of Node.js. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct node_loop);
} node_loops SEC(".maps");

/* One that has turned to nothing: what a new one begins as, for the stack's sake. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct node_loop);
} no_node_loop SEC(".maps");

/* by a Parker of HotSpot: the thread that waits there. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct session_key);
	__type(value, __u32);
} parkers SEC(".maps");

/* by the low bits of a thread id: the thread that was last found not to be observed, and as of
 * which epoch (the high half). Most threads of a machine are not, and that is all that they cost. */
#define UNOBSERVED_BITS 16

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << UNOBSERVED_BITS);
	__type(key, __u32);
	__type(value, __u64);
} unobserved_threads SEC(".maps");

/* by thread group id; written by user space, inherited at fork. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct process_selection);
} processes SEC(".maps");

/* by thread group id: Go programs whose goroutines are followed; written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} routine_processes SEC(".maps");

struct routine_key {
	__u64 routine; /* a goroutine: address of its g; an asyncio task: of its context; a unit: of itself; a virtual thread: its id */
	__u32 pid;
	__u32 reserved;
};

#define PY_APART_MAX 4
#define GO_OPEN_MAX 2

/* What a goroutine or a task took last, or what it inherited from the one that started
 * it. Only those that did either: the table is of requests, not of goroutines. */
struct routine {
	struct event_cause request;
	union {
		struct { /* a task, see bpf/python.h */
			__u64 starter; /* context of the one that started it, 0: it has come to the request by itself */
			__u64 first; /* of the first one that was at the request */
			__u32 born; /* names it among all that were at its address */
			__u32 starter_born, first_born;
			__u32 calls; /* it has called somebody, or one that it has started has, and has not ended */
			__u32 calling; /* those that it has started of which that is so */
			__u32 strayed; /* one at the request went on while such a task of its own did, too */
			__u8 is_named; /* its task is known; of a greenlet that has ended: somebody waited for that */
			__u8 is_copy; /* it is so since it was made */
			__u8 is_read; /* an item, or a context, that is at a request whose bytes had just been read */
			__u8 has_ended; /* an item, and who waits for it has been told that it is done */
			__u32 maker, runner; /* threads: which made the copy, which went on in it last */
			__u32 writes; /* how often it has called */
			__u32 telling; /* callbacks of its items for a loop, that have set nobody to work so far */
			__u32 serves_others; /* it has answered on a connection that is not its request's */
			__u64 apart[PY_APART_MAX]; /* copies of its own that have called on other threads */
			__u64 job; /* of an executor's item, which names it: see bpf/python_job.h; 0: not known */
			__u64 outer; /* of such an item, or its job: the job at which it was put in */
			__u32 outer_born; /* of that */
			__u64 called_ns; /* turn of the loop in which one that it has started called first */
			__u32 is_work; /* an item of an executor's */
			__u32 name; /* of a job, and of those within it */
			__u32 connects; /* futures that asyncio sets for itself, as the task has connected and not yet sent */
			__u32 opens; /* it is at nothing so far, and was made because of the connection that `request` names */
			__u32 has_crossed; /* it was told that who is at its request has done something for another one */
		};
		struct { /* a goroutine, see bpf/go_channel.h */
			struct event_cause item; /* what it took out of a channel last; CAUSE_ITEM: for certain it is at that */
			struct event_cause open[GO_OPEN_MAX]; /* requests of items for which it has given nothing back */
			__u64 source, from; /* of the item: the channel, and the goroutine that put it in */
			__u64 emptied, filled; /* channels that it used last */
			__u32 takes_items; /* `request` is over, or is not what it works for */
			__u32 is_crowded; /* there were more of them than `open` has room for */
			__u32 is_blurred; /* it took what nobody is known to have put in for a request */
			__u32 has_called; /* while at the item */
			__u32 has_passed; /* likewise: given something on, or started a goroutine, which may be its task */
			__u32 is_pooling; /* it is in a function that gets a connection out of a pool: see go_pool_enter */
		};
		struct { /* a task of tokio, see bpf/tokio.h */
			struct event_cause asked; /* what it was set to work for last, until it has called; CAUSE_WAITED: for several */
			struct event_cause response; /* because of which it is run */
			struct event_cause next_response; /* because of which it will be */
			__u32 is_woken; /* and has not been run since */
			__u32 wakings; /* of others, while at its own request */
		};
		struct { /* what lies in a channel, or a WaitGroup; with is_shared: a channel */
			__u64 giver; /* goroutine */
			__u32 given_name; /* of the giver's item, 0: it is at the request itself */
			__u32 given_calls; /* it has called while at the item */
			__u32 is_shared; /* one takes from it and puts into it: a pool, a semaphore */
			__u32 is_timed; /* a timer's */
			__u32 given_start; /* of the giver, that was started for `giver_at`, see CAUSE_START_SHIFT; 0: it was not */
			struct event_cause giver_at;
		};
	};
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct routine_key);
	__type(value, struct routine);
} routines SEC(".maps");

/* A routine that is at nothing: what a new one begins as, for the stack's sake. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct routine);
} no_routine SEC(".maps");

/* A future of asyncio that will set a task to work; or a task, which is a future, too. */
struct future {
	struct event_cause request; /* it was set when these bytes had been taken, */
	__u64 turn_ns; /* in this turn of the loop */
	__u64 context; /* of a task: its own */
	__u64 setter; /* context of the task that set it, 0: one that had just taken the bytes */
	__u64 first; /* of the first one that was at its request */
	__u32 setter_born, first_born; /* as in struct routine */
	__u32 writes; /* how often the setter had called */
	__u32 is_relayed; /* the setter had just come to the request by the bytes that it waited for */
};

/* by address of the future, and process. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct routine_key);
	__type(value, struct future);
} futures SEC(".maps");

/* by port, host order; written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct port_selection);
} local_ports SEC(".maps"), peer_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

/* What has been done on this CPU and has not been looked at by the program's copy: tcp.bpf.c. */
#define DONE_MAX 4
struct done_here {
	__u64 events[DONE_MAX];
	__u32 next;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct done_here);
} done SEC(".maps");

struct exec_scratch {
	struct process_exec_event event;
	char args[EVENT_ARGS_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exec_scratch);
} exec_scratches SEC(".maps");

static __always_inline struct counters *counters_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

static __always_inline void count_losses(__u32 cause, __u64 by)
{
	struct counters *c = counters_here();

	/* At once: a program that is preempted in between would take back what others count. */
	if (c && cause < LOSS_COUNT)
		__sync_fetch_and_add(&c->losses[cause], by);
}

static __always_inline void count_loss(__u32 cause)
{
	count_losses(cause, 1);
}

static __always_inline void count_stat(__u32 stat, __u64 by)
{
	struct counters *c = counters_here();

	if (c && stat < STAT_COUNT)
		c->stats[stat] += by;
}

#endif

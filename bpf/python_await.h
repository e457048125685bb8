/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where does a task of asyncio wait? A suspended coroutine holds what it awaits on top of
 * its stack: another coroutine, down to a future. Each tells its name (__qualname__).
 *  - In the pool of a client, who waits for a connection, or for a lock of one, has given
 *    that its request already, as has who waits for a thread what that is to run: who sets
 *    it to work gives it nothing but its turn.
 *  - In acquire(), of a lock or a semaphore, it waits for its turn, too, but what it does
 *    then may be anything.
 * The type's size tells how a coroutine is laid out (CPython's genobject.h, frameobject.h,
 * internal/pycore_frame.h): a size that is not known, or another thing than a coroutine
 * amid them, ends the search, and then nothing is known.
 */
#ifndef UNDERSPAN_PYTHON_AWAIT_H
#define UNDERSPAN_PYTHON_AWAIT_H

enum python_wait {
	WAIT_UNKNOWN,
	WAIT_OF_LOCK,
	WAIT_OF_POOL,
	WAIT_OF_GREENLET,
};

/* Coroutines that wait for each other. */
#define PY_AWAIT_MAX 64
/* Words of a task (TaskObj of _asynciomodule.c), of which one is its coroutine. */
#define PY_TASK_WORD 2
#define PY_TASK_WORDS 32
#define PY_STACK_MAX 4096
/* PyTypeObject.tp_basicsize, tp_itemsize of coroutines: 3.8 and 3.9, 3.10, 3.11, 3.12 and 3.13. */
#define PY_COROUTINE_3_8 104
#define PY_COROUTINE_3_10 96
#define PY_COROUTINE_3_11 152
#define PY_COROUTINE_3_12 144
#define PY_COROUTINE_ITEM 8 /* from 3.11 on: it holds its frame */
/* Until 3.10: cr_frame, of which f_valuestack, f_stacktop, f_stackdepth. */
#define PY_FRAME_AT 16
#define PY_FRAME_VALUES 64
#define PY_FRAME_TOP 72
#define PY_FRAME_DEPTH 80
/* _PyInterpreterFrame: stacktop, before which localsplus is where the coroutine ends. */
#define PY_FRAME_STACKTOP_BACK 8
/* PyUnicodeObject: length; the text of ASCII, until 3.11 and from 3.12 on. */
#define PY_TEXT_LENGTH 16
#define PY_TEXT_3_8 48
#define PY_TEXT_3_12 40

#define PY_TEXT_MIN 8
#define PY_TEXT_MAX 128

/* What async_generator_asend and async_generator_athrow have, which are small. */
#define PY_GENERATOR_AT 16
#define PY_SENDER_MAX 64

/* How names begin and end, in memory's order, eight letters a word. */
#define NAME_OF_TASK 0x6b7361542e6f6963ULL /* of _asyncio.Task, from the sixth letter on */
#define NAME_OF_TASK_AT 5
#define NAME_COROUTIN 0x6e6974756f726f63ULL
#define NAME_ASYNC_GE 0x65675f636e797361ULL
#define NAME_ACQUIRE 0x657269757163612eULL
/* AsyncConnectionPool. (httpcore, psycopg), AsyncHTTP11Connection. and its like (httpcore), BaseConnector.
 * (aiohttp), BlockingConnectionPool. (redis), Pool._acquire (asyncpg, aiomysql). Of anyio, whose functions
 * that block wait for a thread: run_sync_in_worker_thread, of AsyncIOBackend from 4.0 on. */
#define NAME_ASYNCCON 0x6e6f43636e797341ULL
#define NAME_NECTIONP 0x506e6f697463656eULL
#define NAME_ASYNCHTT 0x545448636e797341ULL
#define NAME_BASECONN 0x6e6e6f4365736142ULL
#define NAME_ECTOR 0x2e726f746365ULL
#define NAME_ECTOR_MASK 0xffffffffffffULL
#define NAME_BLOCKING 0x676e696b636f6c42ULL
#define NAME_CONNECTI 0x697463656e6e6f43ULL
#define NAME_RUN_SYNC 0x636e79735f6e7572ULL
#define NAME_ASYNCIOB 0x424f49636e797341ULL
#define NAME_R_THREAD 0x6461657268745f72ULL
#define NAME_POOL__AC 0x63615f2e6c6f6f50ULL
/* greenlet_spawn: SQLAlchemy, whose pool is a queue. */
#define NAME_GREENLET 0x74656c6e65657267ULL
#define NAME__SPAWN_MASK 0xffffffffffffULL
#define NAME__SPAWN 0x6e776170735fULL

/* The size of the type, if the object is a coroutine of which that is known; else 0. These
 * functions are global ones, which the verifier looks at once, and not where they are called. */
__noinline int coroutine_shape(__u64 object)
{
	__u64 type = 0, sizes[2] = {}, name = 0, text = 0;

	if (!object || object & 7 ||
	    bpf_probe_read_user(&type, sizeof(type), (void *)(object + PY_OBJECT_TYPE)) ||
	    bpf_probe_read_user(sizes, sizeof(sizes), (void *)(type + PY_TYPE_BASIC_SIZE)))
		return 0;
	if (sizes[1] == PY_COROUTINE_ITEM ?
		    sizes[0] != PY_COROUTINE_3_11 && sizes[0] != PY_COROUTINE_3_12 :
		    sizes[1] || (sizes[0] != PY_COROUTINE_3_8 && sizes[0] != PY_COROUTINE_3_10))
		return 0;
	if (bpf_probe_read_user(&name, sizeof(name), (void *)(type + PY_TYPE_NAME)) ||
	    bpf_probe_read_user(&text, sizeof(text), (void *)name) || text != NAME_COROUTIN)
		return 0;
	return sizes[0];
}

/* The coroutine or generator that is awaited there; 0: it is something else. */
__noinline __u64 awaited_frame(__u64 object)
{
	__u64 type = 0, bytes = 0, name = 0, text = 0, generator = 0;

	if (!object || object & 7 ||
	    bpf_probe_read_user(&type, sizeof(type), (void *)(object + PY_OBJECT_TYPE)) ||
	    bpf_probe_read_user(&bytes, sizeof(bytes), (void *)(type + PY_TYPE_BASIC_SIZE)) ||
	    bpf_probe_read_user(&name, sizeof(name), (void *)(type + PY_TYPE_NAME)) ||
	    bpf_probe_read_user(&text, sizeof(text), (void *)name))
		return 0;
	if (text == NAME_COROUTIN && bytes > PY_SENDER_MAX)
		return object;
	if (text != NAME_ASYNC_GE || bytes > PY_SENDER_MAX ||
	    bpf_probe_read_user(&generator, sizeof(generator), (void *)(object + PY_GENERATOR_AT)))
		return 0;
	return generator;
}

/* What the coroutine awaits; 0: not known. */
__noinline __u64 coroutine_awaits(__u64 coroutine, __u32 shape)
{
	__u64 frame = 0, values = 0, awaited = 0;
	__u32 depth = 0;

	if (shape >= PY_COROUTINE_3_12) {
		values = coroutine + shape;
		bpf_probe_read_user(&depth, sizeof(depth), (void *)(values - PY_FRAME_STACKTOP_BACK));
	} else {
		bpf_probe_read_user(&frame, sizeof(frame), (void *)(coroutine + PY_FRAME_AT));
		bpf_probe_read_user(&values, sizeof(values), (void *)(frame + PY_FRAME_VALUES));
		if (shape == PY_COROUTINE_3_10) {
			bpf_probe_read_user(&depth, sizeof(depth), (void *)(frame + PY_FRAME_DEPTH));
		} else {
			bpf_probe_read_user(&values, sizeof(values), (void *)(frame + PY_FRAME_TOP));
			depth = values > 8;
			values -= 8;
		}
	}
	if (!depth || depth > PY_STACK_MAX ||
	    bpf_probe_read_user(&awaited, sizeof(awaited), (void *)(values + (depth - 1) * 8ULL)))
		return 0;
	return awaited;
}

__noinline int coroutine_waits(__u64 coroutine, __u32 shape)
{
	__u64 at = coroutine, text[2] = {}, name = 0, length = 0, end = 0;

	/* cr_qualname */
	if (shape == PY_COROUTINE_3_8)
		at += 56;
	else if (shape == PY_COROUTINE_3_10)
		at += 48;
	else
		at += shape == PY_COROUTINE_3_11 ? 40 : 32;
	if (bpf_probe_read_user(&name, sizeof(name), (void *)at) ||
	    bpf_probe_read_user(&length, sizeof(length), (void *)(name + PY_TEXT_LENGTH)) ||
	    length < PY_TEXT_MIN || length > PY_TEXT_MAX)
		return WAIT_UNKNOWN;
	name += shape == PY_COROUTINE_3_12 ? PY_TEXT_3_12 : PY_TEXT_3_8;
	if (bpf_probe_read_user(text, sizeof(text), (void *)name) ||
	    bpf_probe_read_user(&end, sizeof(end), (void *)(name + length - sizeof(end))))
		return WAIT_UNKNOWN;
	if ((text[0] == NAME_ASYNCCON && text[1] == NAME_NECTIONP) || text[0] == NAME_ASYNCHTT ||
	    (text[0] == NAME_BASECONN && (text[1] & NAME_ECTOR_MASK) == NAME_ECTOR) ||
	    (text[0] == NAME_BLOCKING && text[1] == NAME_CONNECTI) || text[0] == NAME_POOL__AC ||
	    (end == NAME_R_THREAD && (text[0] == NAME_RUN_SYNC || text[0] == NAME_ASYNCIOB)))
		return WAIT_OF_POOL;
	if (text[0] == NAME_GREENLET && (text[1] & NAME__SPAWN_MASK) == NAME__SPAWN)
		return WAIT_OF_GREENLET;
	return end == NAME_ACQUIRE ? WAIT_OF_LOCK : WAIT_UNKNOWN;
}

static __noinline bool is_task(__u64 object)
{
	__u64 type = 0, name = 0, text = 0;

	return object &&
	       !bpf_probe_read_user(&type, sizeof(type), (void *)(object + PY_OBJECT_TYPE)) &&
	       !bpf_probe_read_user(&name, sizeof(name), (void *)(type + PY_TYPE_NAME)) &&
	       !bpf_probe_read_user(&text, sizeof(text), (void *)(name + NAME_OF_TASK_AT)) &&
	       text == NAME_OF_TASK;
}

/* How types of asyncio's begin that call themselves back: _SelectorSocketTransport, SSLProtocol and its transport,
 * StreamReaderProtocol. */
#define NAME__SELECTO 0x6f7463656c65535fULL
#define NAME_SSLPROTO 0x6f746f72504c5353ULL
#define NAME__SSLPROT 0x746f72504c53535fULL
#define NAME_STREAMRE 0x65526d6165727453ULL
/* PyMethodObject.im_self */
#define PY_OBJECT_OF_METHOD 24

/* Is it a method of such an object, or nothing of Python at all (0)? */
__noinline int is_own_callback(__u64 called)
{
	__u64 object = 0, type = 0, name = 0, text = 0;

	if (!called)
		return 1;
	if (bpf_probe_read_user(&object, sizeof(object), (void *)(called + PY_OBJECT_OF_METHOD)) ||
	    bpf_probe_read_user(&type, sizeof(type), (void *)(object + PY_OBJECT_TYPE)) ||
	    bpf_probe_read_user(&name, sizeof(name), (void *)(type + PY_TYPE_NAME)) ||
	    bpf_probe_read_user(&text, sizeof(text), (void *)name))
		return 0;
	return text == NAME__SELECTO || text == NAME_SSLPROTO || text == NAME__SSLPROT ||
	       text == NAME_STREAMRE;
}

/* What a callback of a future is about: m_self of a method, until 3.8 the first word of an object. */
#define PY_CALLBACK_WORDS 16

/* The task that a callback of a future sets to work; 0: it is another callback. */
__noinline __u64 task_of_callback(__u64 callback)
{
	__u64 words[2] = {};

	if (bpf_probe_read_user(words, sizeof(words), (void *)(callback + PY_CALLBACK_WORDS)))
		return 0;
	if (is_task(words[1]))
		return words[1];
	return is_task(words[0]) ? words[0] : 0;
}

__noinline __u64 task_coroutine(__u64 task)
{
	for (int i = PY_TASK_WORD; i < PY_TASK_WORDS; i++) {
		__u64 word = 0;

		if (bpf_probe_read_user(&word, sizeof(word), (void *)(task + i * 8)))
			return 0;
		if (coroutine_shape(word))
			return word;
	}
	return 0;
}

/* Where does the task wait that this callback sets to work? enum python_wait */
__noinline int python_waits(__u64 callback)
{
	__u64 task = task_of_callback(callback), coroutine = task ? task_coroutine(task) : 0;
	__u32 shape = coroutine_shape(coroutine), waits = WAIT_UNKNOWN;

	for (int i = 0; i < PY_AWAIT_MAX && shape && coroutine; i++) {
		waits = coroutine_waits(coroutine, shape);
		if (waits >= WAIT_OF_POOL)
			break;
		coroutine = awaited_frame(coroutine_awaits(coroutine, shape));
	}
	return waits;
}

#endif

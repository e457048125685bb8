/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * uvloop, a loop for asyncio's tasks in C. Like asyncio's own it runs everything in a
 * context; unlike it
 *  - it enters contexts by PyContext_Enter (older ones those of protocols by context_run).
 *    What it is about to call then, is in the Handle that it is running, to which one of
 *    the registers points that a function has to keep: an object of that type, with this
 *    context, is no coincidence;
 *  - it reads before it enters the context of the connection's protocol;
 *  - it writes when all that was ready has run. Whose bytes those are is known when a task
 *    gives them to the connection (`handed`).
 */
#ifndef UNDERSPAN_UVLOOP_H
#define UNDERSPAN_UVLOOP_H

/* uvloop.loop.Handle (cbhandles.pxd): an object with a table of methods. */
struct uv_handle {
	__u64 references, type, methods, loop;
	__u64 context;
	__u64 is_cancelled, method_name;
	__u32 callback_type, padding; /* 1: of Python */
	__u64 callback; /* of a TimerHandle: the context */
	__u64 callable;
	__u64 arguments; /* a tuple, or None */
};

#define UV_CALLBACK_OF_PYTHON 1

/* PyTypeObject.tp_name; PyTupleObject: ob_size, ob_item. */
#define PY_TYPE_NAME 24
#define PY_TUPLE_SIZE 16
#define PY_TUPLE_ITEMS 24

/* UVHandle (handles/handle.pxd): _handle, behind the table of methods. uv_stream_t of
 * libuv 1: io_watcher.fd. */
#define UV_STREAM_HANDLE 24
#define UV_STREAM_FD 184

#define UV_NAME_MAX 24
#define UV_MODULE "uvloop.loop."
#define UV_MODULE_BYTES 12

static __always_inline bool py_type_name(__u64 type, char name[UV_NAME_MAX])
{
	__u64 address = 0;

	return !bpf_probe_read_user(&address, sizeof(address), (void *)(type + PY_TYPE_NAME)) &&
	       bpf_probe_read_user_str(name, UV_NAME_MAX, (void *)address) > 0;
}

/* A type of uvloop's: the first letter of its name, 0 for all others. */
static __noinline char uv_type_letter(__u64 type)
{
	char name[UV_NAME_MAX] = {};

	if (!py_type_name(type, name))
		return 0;
	for (int i = 0; i < UV_MODULE_BYTES; i++)
		if (name[i] != UV_MODULE[i])
			return 0;
	return name[UV_MODULE_BYTES];
}

/* Is this the Handle or TimerHandle that runs in the context? Its letter. */
static __noinline char uv_handle_at(struct uv_handle *handle, __u64 address, __u64 context)
{
	char letter;

	if (address & 7 || bpf_probe_read_user(handle, sizeof(*handle), (void *)address) ||
	    (handle->context != context && handle->callback != context))
		return 0;
	letter = uv_type_letter(handle->type);
	return letter == 'H' || letter == 'T' ? letter : 0;
}

/* The one argument of a callback, if it has one; its number of callable and arguments. */
static __noinline void uv_arguments(struct uv_handle *handle, struct python_call *call)
{
	__u64 type = 0, sized[2] = {};
	char name[UV_NAME_MAX] = {};

	if (handle->callback_type != UV_CALLBACK_OF_PYTHON)
		return;
	call->called[0] = handle->callable;
	call->count = 1;
	if (bpf_probe_read_user(&type, sizeof(type), (void *)(handle->arguments + 8)) ||
	    !py_type_name(type, name) || name[0] != 't' || name[1] != 'u')
		return;
	call->count = 0;
	if (bpf_probe_read_user(sized, sizeof(sized),
				(void *)(handle->arguments + PY_TUPLE_SIZE)))
		return;
	call->count = 1 + sized[0];
	call->called[1] = sized[1];
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Programs attached to the kernel's functions and events, and to places in files. */
#ifndef UNDERSPAN_HOST_ATTACH_H
#define UNDERSPAN_HOST_ATTACH_H
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include "object.h"

#define USER_PLACES_MAX 4096 /* of one program in one file */

/* attachEvent(handle, program, id): to a trace event of that number, as a kprobe
 * that was defined in tracefs is */
static napi_value host_attach_event(napi_env env, napi_callback_info info)
{
	ARGUMENTS(3)
	struct object *object = get_external(env, argv[0]);
	struct bpf_program *program = get_program(env, object, argv[1]);
	struct perf_event_attr attributes = { .type = PERF_TYPE_TRACEPOINT,
					      .size = sizeof(attributes),
					      .sample_period = 1,
					      .wakeup_events = 1 };
	struct bpf_link *link;
	uint32_t id;
	int fd;

	if (!program || !get_uint32(env, argv[2], &id))
		return NULL;
	if (object->link_count == LINKS_MAX)
		return fail(env, "too many programs", E2BIG);
	log_used = 0;
	attributes.config = id;
	fd = syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return fail(env, "perf_event_open", errno);
	link = bpf_program__attach_perf_event(program, fd);
	if (!link) {
		int error = errno;

		close(fd);
		return fail(env, bpf_program__name(program), error);
	}
	object->links[object->link_count++] = link;
	return NULL;
}

/* attach(handle, program) */
static napi_value host_attach(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	struct object *object = get_external(env, argv[0]);
	struct bpf_program *program = get_program(env, object, argv[1]);
	struct bpf_link *link;

	if (!program)
		return NULL;
	if (object->link_count == LINKS_MAX)
		return fail(env, "too many programs", E2BIG);
	log_used = 0;
	link = bpf_program__attach(program);
	if (!link)
		return fail(env, bpf_program__name(program), errno);
	object->linked[object->link_count] = program;
	object->links[object->link_count++] = link;
	return NULL;
}

/* BPF_LINK_CREATE for many places in a file at once (Linux 6.6), which the headers of
 * older systems do not have: include/uapi/linux/bpf.h, union bpf_attr. */
struct uprobe_multi_attr {
	uint32_t program_fd, target_fd, attach_type, flags;
	uint64_t path, offsets, ref_ctr_offsets, cookies;
	uint32_t count, multi_flags, pid, padding;
};

#define TRACE_UPROBE_MULTI 48
#define UPROBE_MULTI_RETURN 1

static int user_link_add(struct object *object, struct user_link link)
{
	if (object->user_link_count == object->user_link_room) {
		int room = object->user_link_room ? object->user_link_room * 2 : 64;
		struct user_link *more = realloc(object->user_links, room * sizeof(*more));

		if (!more)
			return -1;
		object->user_links = more;
		object->user_link_room = room;
	}
	object->user_links[object->user_link_count++] = link;
	return 0;
}

/* useMultiProbes(handle, program): before the load; its places in files then share
 * links, which come and go faster. */
static napi_value host_use_multi_probes(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	struct bpf_program *program = get_program(env, get_external(env, argv[0]), argv[1]);
	int error = program ? bpf_program__set_expected_attach_type(program, TRACE_UPROBE_MULTI) : 0;

	return error ? fail(env, "attach type", error) : NULL;
}

/* attachUser(handle, program, path, offsets: Float64Array, isReturn, pid): probes on
 * places in a file, in every process that maps it, or in one (pid > 0). The kernel
 * holds the file by its inode from here on, whatever becomes of the path. */
static napi_value host_attach_user(napi_env env, napi_callback_info info)
{
	ARGUMENTS(6)
	struct object *object = get_external(env, argv[0]);
	struct bpf_program *program = get_program(env, object, argv[1]);
	struct user_link link = { .fd = -1 };
	napi_typedarray_type type;
	char path[4096];
	double *offsets;
	size_t count;
	uint32_t pid;
	bool is_return;

	if (!program || !get_text(env, argv[2], path, sizeof(path)) ||
	    napi_get_value_bool(env, argv[4], &is_return) != napi_ok ||
	    !get_uint32(env, argv[5], &pid))
		return NULL;
	if (napi_get_typedarray_info(env, argv[3], &type, &count, (void **)&offsets, NULL, NULL) !=
		    napi_ok ||
	    type != napi_float64_array || !count || count > USER_PLACES_MAX)
		return fail(env, "a Float64Array of places was expected", EINVAL);
	log_used = 0;
	if (bpf_program__expected_attach_type(program) == TRACE_UPROBE_MULTI) {
		uint64_t *places = calloc(count, sizeof(*places));
		struct uprobe_multi_attr attr = {
			.program_fd = bpf_program__fd(program),
			.attach_type = TRACE_UPROBE_MULTI,
			.path = (uintptr_t)path,
			.offsets = (uintptr_t)places,
			.count = count,
			.multi_flags = is_return ? UPROBE_MULTI_RETURN : 0,
			.pid = pid,
		};

		if (!places)
			return fail(env, "places", ENOMEM);
		for (size_t i = 0; i < count; i++)
			places[i] = (uint64_t)offsets[i];
		link.fd = syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
		int error = errno;

		free(places);
		if (link.fd < 0)
			return fail(env, bpf_program__name(program), error);
		if (user_link_add(object, link)) {
			close(link.fd);
			return fail(env, "link", ENOMEM);
		}
		return NULL;
	}
	for (size_t i = 0; i < count; i++) {
		link.bpf = bpf_program__attach_uprobe(program, is_return, pid ? (int)pid : -1, path,
						      (size_t)offsets[i]);
		if (!link.bpf)
			return fail(env, bpf_program__name(program), errno);
		if (user_link_add(object, link)) {
			bpf_link__destroy(link.bpf);
			return fail(env, "link", ENOMEM);
		}
	}
	return NULL;
}

/* detachProgram(handle, program): this one; it can be attached again. */
static napi_value host_detach_program(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	struct object *object = get_external(env, argv[0]);
	struct bpf_program *program = get_program(env, object, argv[1]);

	if (!program)
		return NULL;
	for (int i = object->link_count - 1; i >= 0; i--) {
		if (object->linked[i] != program)
			continue;
		bpf_link__destroy(object->links[i]);
		object->link_count--;
		object->links[i] = object->links[object->link_count];
		object->linked[i] = object->linked[object->link_count];
	}
	return NULL;
}

#endif

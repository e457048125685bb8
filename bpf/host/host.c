// SPDX-License-Identifier: Apache-2.0
/*
 * The only user-space C: libbpf behind a narrow N-API. In: object files, knobs,
 * names. Out: attached programs, batches of records, map values. Every failure
 * becomes a JavaScript Error with the errno name and libbpf's own words.
 * Node-API 8 only, context-aware, so that it runs unchanged in worker threads and
 * on every Node from 18 on.
 */
#define NAPI_VERSION 8
#define _GNU_SOURCE /* dl_iterate_phdr */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <link.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <node_api.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "../event.h"
#include "capabilities.h"

#define LINKS_MAX 128
#define USER_PLACES_MAX 4096 /* of one program in one file */
#define DETACHERS 16
#define NAME_MAX_BYTES 128
#define LOG_BYTES 65536

/* libbpf's printer has no context argument: one log per thread, the end is kept. */
static _Thread_local char log_text[LOG_BYTES];
static _Thread_local size_t log_used;

/* By libbpf, or if that is NULL by the descriptor. */
struct user_link {
	const struct bpf_program *program;
	struct bpf_link *bpf;
	int fd;
};

static void user_link_end(struct user_link *link)
{
	if (link->bpf)
		bpf_link__destroy(link->bpf);
	else
		close(link->fd);
}

struct object {
	struct bpf_object *bpf;
	struct bpf_link *links[LINKS_MAX];
	const struct bpf_program *linked[LINKS_MAX]; /* by which program */
	int link_count;
	struct user_link *user_links; /* on files */
	int user_link_count, user_link_room;
	int stats_fd;
	pthread_t loader; /* while is_loading */
	bool is_loading;
	_Atomic bool is_done; /* by the loader, what follows is read after it */
	int load_error;
	char *load_log;
	size_t load_log_bytes;
};

/* Positions count bytes ever produced: headers, records, padding. What lies between `taken` and the kernel's consumer
 * position is in the spare room, what lies behind that in the ring. */
struct ring {
	unsigned long *consumer; /* one writable page */
	const unsigned long *producer; /* one page, then the data */
	const uint8_t *data;
	unsigned long taken; /* up to here it was drained */
	uint8_t *spare; /* NULL before it is needed; each position has its place in it, too */
	bool is_spare_used; /* since it was last given back */
	size_t size, page;
	int fd;
};

/* Of address space; pages are used as they are needed. */
#define SPARE_BYTES (64UL << 20)

/* A verifier's log comes as one argument, and its end says why. */
static int print(enum libbpf_print_level level, const char *format, va_list arguments)
{
	va_list again;
	char *text;
	size_t skip;
	int length;

	if (level == LIBBPF_DEBUG)
		return 0;
	va_copy(again, arguments);
	length = vsnprintf(NULL, 0, format, again);
	va_end(again);
	text = length > 0 ? malloc(length + 1) : NULL;
	if (!text)
		return 0;
	vsnprintf(text, length + 1, format, arguments);
	skip = length > LOG_BYTES / 2 ? length - LOG_BYTES / 2 : 0;
	length -= skip;
	if (log_used + length > LOG_BYTES) {
		size_t keep = log_used < LOG_BYTES / 2 ? log_used : LOG_BYTES / 2;

		memmove(log_text, log_text + log_used - keep, keep);
		log_used = keep;
	}
	memcpy(log_text + log_used, text + skip, length);
	log_used += length;
	free(text);
	return 0;
}

static napi_value fail(napi_env env, const char *what, int error)
{
	char message[512];

	snprintf(message, sizeof(message), "%s: %s", what, strerror(error < 0 ? -error : error));
	char code[16];

	snprintf(code, sizeof(code), "%d", error < 0 ? -error : error);
	napi_throw_error(env, code, message);
	return NULL;
}

#define ARGUMENTS(count)                                                                   \
	size_t argc = (count);                                                             \
	napi_value argv[(count)];                                                          \
	if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc < (count)) { \
		napi_throw_type_error(env, NULL, "too few arguments");                     \
		return NULL;                                                               \
	}

static bool get_text(napi_env env, napi_value value, char *out, size_t size)
{
	size_t length;

	if (napi_get_value_string_utf8(env, value, out, size, &length) == napi_ok)
		return true;
	napi_throw_type_error(env, NULL, "a string was expected");
	return false;
}

static bool get_uint32(napi_env env, napi_value value, uint32_t *out)
{
	if (napi_get_value_uint32(env, value, out) == napi_ok)
		return true;
	napi_throw_type_error(env, NULL, "an unsigned integer was expected");
	return false;
}

static void *get_external(napi_env env, napi_value value)
{
	void *out = NULL;

	if (napi_get_value_external(env, value, &out) != napi_ok || !out)
		napi_throw_type_error(env, NULL, "a handle was expected");
	return out;
}

static bool get_bytes(napi_env env, napi_value value, void **data, size_t *length)
{
	napi_typedarray_type type;

	if (napi_get_typedarray_info(env, value, &type, length, data, NULL, NULL) == napi_ok &&
	    type == napi_uint8_array)
		return true;
	napi_throw_type_error(env, NULL, "a Uint8Array was expected");
	return false;
}

static napi_value number(napi_env env, double value)
{
	napi_value out;

	napi_create_double(env, value, &out);
	return out;
}

static struct bpf_map *get_map(napi_env env, struct object *object, napi_value name)
{
	char text[NAME_MAX_BYTES];
	struct bpf_map *map;

	if (!object || !get_text(env, name, text, sizeof(text)))
		return NULL;
	/* A message may come after the end. */
	map = object->bpf ? bpf_object__find_map_by_name(object->bpf, text) : NULL;
	if (!map)
		napi_throw_error(env, "ENOENT", text);
	return map;
}

static struct bpf_program *get_program(napi_env env, struct object *object, napi_value name)
{
	char text[NAME_MAX_BYTES];
	struct bpf_program *program;

	if (!object || !get_text(env, name, text, sizeof(text)))
		return NULL;
	program = object->bpf ? bpf_object__find_program_by_name(object->bpf, text) : NULL;
	if (!program)
		napi_throw_error(env, "ENOENT", text);
	return program;
}

/* Each file probe that goes waits for all that may be running it, 100-150 ms on
 * Linux 6.18: let them wait together. */
struct detach_share {
	struct object *object;
	int first;
};

static void *detach_share(void *argument)
{
	struct detach_share *share = argument;

	for (int i = share->first; i < share->object->user_link_count; i += DETACHERS)
		user_link_end(&share->object->user_links[i]);
	return NULL;
}

static void detach_all(struct object *object)
{
	struct detach_share shares[DETACHERS];
	pthread_t threads[DETACHERS];
	bool is_started[DETACHERS] = {};

	for (int i = 0; i < object->link_count; i++)
		bpf_link__destroy(object->links[i]);
	object->link_count = 0;
	for (int i = 0; i < DETACHERS && i < object->user_link_count; i++) {
		shares[i] = (struct detach_share){ object, i };
		is_started[i] = !pthread_create(&threads[i], NULL, detach_share, &shares[i]);
		if (!is_started[i])
			detach_share(&shares[i]);
	}
	for (int i = 0; i < DETACHERS; i++)
		if (is_started[i])
			pthread_join(threads[i], NULL);
	free(object->user_links);
	object->user_links = NULL;
	object->user_link_count = object->user_link_room = 0;
}

static void join_loader(struct object *object)
{
	if (object->is_loading)
		pthread_join(object->loader, NULL);
	object->is_loading = false;
}

static void object_free(struct object *object)
{
	join_loader(object);
	free(object->load_log);
	object->load_log = NULL;
	detach_all(object);
	if (object->bpf)
		bpf_object__close(object->bpf);
	object->bpf = NULL;
	if (object->stats_fd >= 0)
		close(object->stats_fd);
	object->stats_fd = -1;
}

static void object_finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	object_free(data);
	free(data);
}

/* open(path, btfPath) -> handle */
static napi_value host_open(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	char path[4096], btf[4096];
	LIBBPF_OPTS(bpf_object_open_opts, options);
	struct object *object;
	napi_value out;

	if (!get_text(env, argv[0], path, sizeof(path)) || !get_text(env, argv[1], btf, sizeof(btf)))
		return NULL;
	if (btf[0])
		options.btf_custom_path = btf;
	log_used = 0;
	object = calloc(1, sizeof(*object));
	if (!object)
		return fail(env, "open", ENOMEM);
	object->stats_fd = -1;
	object->bpf = bpf_object__open_file(path, &options);
	if (!object->bpf) {
		int error = errno;

		free(object);
		return fail(env, "the BPF object cannot be opened", error);
	}
	napi_create_external(env, object, object_finalize, NULL, &out);
	return out;
}

#define FUNCTIONS_MAX 256

struct wanted_function {
	char name[NAME_MAX_BYTES];
	bool is_there;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b); /* the name comes first in it */
}

/* One pass: the kernel's BTF has 150,000 types, and a search by name walks them all. */
static void mark_functions(const struct btf *btf, struct wanted_function *wanted, size_t count)
{
	struct wanted_function *found;

	for (__u32 id = 1; id < btf__type_cnt(btf); id++) {
		const struct btf_type *type = btf__type_by_id(btf, id);

		if (!btf_is_func(type))
			continue;
		found = bsearch(btf__name_by_offset(btf, type->name_off), wanted, count, sizeof(*wanted), by_name);
		if (found)
			found->is_there = true;
	}
}

/* functions(btfPath, names) -> the names of these that the kernel's BTF (or that of the file) has as functions */
static napi_value host_functions(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	static _Thread_local struct wanted_function wanted[FUNCTIONS_MAX];
	char path[4096];
	uint32_t count, found = 0;
	napi_value out, text;

	if (!get_text(env, argv[0], path, sizeof(path)))
		return NULL;
	if (napi_get_array_length(env, argv[1], &count) != napi_ok || count > FUNCTIONS_MAX) {
		napi_throw_type_error(env, NULL, "an array of at most 256 names was expected");
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++) {
		napi_value element;

		wanted[i].is_there = false;
		napi_get_element(env, argv[1], i, &element);
		if (!get_text(env, element, wanted[i].name, sizeof(wanted[i].name)))
			return NULL;
	}
	qsort(wanted, count, sizeof(wanted[0]), by_name);
	log_used = 0;
	struct btf *btf = *path ? btf__parse(path, NULL) : btf__load_vmlinux_btf();

	if (!btf)
		return fail(env, *path ? path : "the kernel's BTF", errno);
	mark_functions(btf, wanted, count);
	btf__free(btf);
	napi_create_array(env, &out);
	for (uint32_t i = 0; i < count; i++) {
		if (!wanted[i].is_there)
			continue;
		napi_create_string_utf8(env, wanted[i].name, NAPI_AUTO_LENGTH, &text);
		napi_set_element(env, out, found++, text);
	}
	return out;
}

/* close(handle): detaches and unloads everything. */
static napi_value host_close(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct object *object = get_external(env, argv[0]);

	if (object)
		object_free(object);
	return NULL;
}

/* setConstant(handle, name, value): a `const volatile __u32` before the load. */
static napi_value host_set_constant(napi_env env, napi_callback_info info)
{
	ARGUMENTS(3)
	struct object *object = get_external(env, argv[0]);
	char name[NAME_MAX_BYTES];
	uint32_t value;

	if (!object || !get_text(env, argv[1], name, sizeof(name)) ||
	    !get_uint32(env, argv[2], &value))
		return NULL;
	struct btf *btf = bpf_object__btf(object->bpf);
	struct bpf_map *map = bpf_object__find_map_by_name(object->bpf, ".rodata");
	int id = btf ? btf__find_by_name_kind(btf, ".rodata", BTF_KIND_DATASEC) : -1;
	size_t size = 0;
	const void *initial = map ? bpf_map__initial_value(map, &size) : NULL;
	int error = ENOENT;

	if (id < 0 || !initial)
		return fail(env, "no .rodata", ENOENT);
	uint8_t *data = malloc(size);

	if (!data)
		return fail(env, "constant", ENOMEM);
	memcpy(data, initial, size);
	const struct btf_type *section = btf__type_by_id(btf, id);
	const struct btf_var_secinfo *variables = btf_var_secinfos(section);

	for (int i = 0; i < btf_vlen(section); i++) {
		const struct btf_type *variable = btf__type_by_id(btf, variables[i].type);

		if (strcmp(btf__name_by_offset(btf, variable->name_off), name) != 0)
			continue;
		error = EINVAL;
		if (variables[i].size == sizeof(value) &&
		    variables[i].offset + sizeof(value) <= size) {
			memcpy(data + variables[i].offset, &value, sizeof(value));
			error = bpf_map__set_initial_value(map, data, size);
		}
		break;
	}
	free(data);
	return error ? fail(env, name, error) : NULL;
}

/* setMapSize(handle, map, entries): before the load. */
static napi_value host_set_map_size(napi_env env, napi_callback_info info)
{
	ARGUMENTS(3)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	uint32_t entries;
	int error;

	if (!map || !get_uint32(env, argv[2], &entries))
		return NULL;
	error = bpf_map__set_max_entries(map, entries);
	return error ? fail(env, "map size", error) : NULL;
}

/* disable(handle, program): leaves it out of the load. */
static napi_value host_disable(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	struct object *object = get_external(env, argv[0]);
	struct bpf_program *program = get_program(env, object, argv[1]);
	int error;

	if (!program)
		return NULL;
	error = bpf_program__set_autoload(program, false);
	return error ? fail(env, "disable", error) : NULL;
}

/* share(handle, from): before the load; the maps of another object that is loaded, in place of own ones. */
static napi_value host_share(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	struct object *object = get_external(env, argv[0]);
	struct object *from = get_external(env, argv[1]);
	struct bpf_map *map, *shared;

	if (!object || !from)
		return NULL;
	bpf_object__for_each_map(map, object->bpf) {
		shared = bpf_object__find_map_by_name(from->bpf, bpf_map__name(map));
		if (!shared)
			return fail(env, bpf_map__name(map), ENOENT);
		int error = bpf_map__reuse_fd(map, bpf_map__fd(shared));

		if (error)
			return fail(env, bpf_map__name(map), error);
	}
	return NULL;
}

/* The verifier gives up (EAGAIN) when a signal is pending: a profiler's clock is faster than a large program. */
static int load_unsignalled(struct object *object)
{
	sigset_t all, before;
	int error;

	log_used = 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = bpf_object__load(object->bpf);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static napi_value load_result(napi_env env, int error)
{
	return error ? fail(env, "the kernel refused the BPF object", error) : NULL;
}

/* load(handle) */
static napi_value host_load(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct object *object = get_external(env, argv[0]);

	return object ? load_result(env, load_unsignalled(object)) : NULL;
}

static void *load_in_thread(void *argument)
{
	struct object *object = argument;

	object->load_error = load_unsignalled(object);
	object->load_log = malloc(log_used);
	object->load_log_bytes = object->load_log ? log_used : 0;
	if (object->load_log)
		memcpy(object->load_log, log_text, log_used);
	object->is_done = true;
	return NULL;
}

#define LOADER_STACK_BYTES (1 << 20)

/* loadAside(handle): in a thread of its own. Until isLoaded says so, the handle is good for nothing but close. */
static napi_value host_load_aside(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct object *object = get_external(env, argv[0]);
	pthread_attr_t attributes;
	int error;

	if (!object)
		return NULL;
	if (object->is_loading)
		return fail(env, "it is being loaded", EALREADY);
	object->is_done = false;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, LOADER_STACK_BYTES);
	error = pthread_create(&object->loader, &attributes, load_in_thread, object);
	pthread_attr_destroy(&attributes);
	object->is_loading = !error;
	return error ? fail(env, "a thread to load in", error) : NULL;
}

/* isLoaded(handle) -> boolean; after loadAside. Throws what load would. */
static napi_value host_is_loaded(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct object *object = get_external(env, argv[0]);
	napi_value out;

	if (!object)
		return NULL;
	napi_get_boolean(env, object->is_done, &out);
	if (!object->is_done)
		return out;
	join_loader(object);
	if (!object->load_error)
		return out;
	if (object->load_log)
		memcpy(log_text, object->load_log, object->load_log_bytes);
	log_used = object->load_log_bytes;
	return load_result(env, object->load_error);
}

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
	struct user_link link = { .program = program, .fd = -1 };
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

/* detachProgram(handle, program): this one, also from files; it can be attached again. */
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
	for (int i = object->user_link_count - 1; i >= 0; i--) {
		if (object->user_links[i].program != program)
			continue;
		user_link_end(&object->user_links[i]);
		object->user_links[i] = object->user_links[--object->user_link_count];
	}
	return NULL;
}

/* log() -> what libbpf and the verifier said since the last open, load or attach */
static napi_value host_log(napi_env env, napi_callback_info info)
{
	napi_value out;

	(void)info;
	napi_create_string_utf8(env, log_text, log_used, &out);
	return out;
}

static void unmap_finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	munmap(data, (size_t)hint);
}

/* mapMemory(handle, map, from, bytes) -> ArrayBuffer over so many bytes of an mmapable array
 * map, from a whole page on; or as many as there are */
static napi_value host_map_memory(napi_env env, napi_callback_info info)
{
	ARGUMENTS(4)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	uint32_t from, wanted;
	napi_value out;

	if (!map || !get_uint32(env, argv[2], &from) || !get_uint32(env, argv[3], &wanted))
		return NULL;
	size_t page = sysconf(_SC_PAGESIZE);
	size_t value = (bpf_map__value_size(map) + 7) & ~(size_t)7;
	size_t whole = value * bpf_map__max_entries(map);

	if (from & (page - 1) || from >= whole)
		return fail(env, "mmap of a BPF map", EINVAL);
	size_t bytes = wanted < whole - from ? wanted : whole - from;

	bytes = (bytes + page - 1) & ~(page - 1);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), from);

	if (memory == MAP_FAILED)
		return fail(env, "mmap of a BPF map", errno);
	if (napi_create_external_arraybuffer(env, memory, bytes, unmap_finalize, (void *)bytes,
					     &out) != napi_ok) {
		munmap(memory, bytes);
		return fail(env, "external buffers are not allowed in this runtime", ENOTSUP);
	}
	return out;
}

/* mapSet(handle, map, key, value) */
static napi_value host_map_set(napi_env env, napi_callback_info info)
{
	ARGUMENTS(4)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	void *key, *value;
	size_t key_size, value_size;

	if (!map || !get_bytes(env, argv[2], &key, &key_size) ||
	    !get_bytes(env, argv[3], &value, &value_size))
		return NULL;
	if (key_size != bpf_map__key_size(map) || value_size != bpf_map__value_size(map))
		return fail(env, "key or value size", EINVAL);
	if (bpf_map_update_elem(bpf_map__fd(map), key_size ? key : NULL, value, BPF_ANY))
		return fail(env, "map update", errno);
	return NULL;
}

/* fillStack(handle, map, count): pushes count - 1 down to 0 */
static napi_value host_fill_stack(napi_env env, napi_callback_info info)
{
	ARGUMENTS(3)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	uint32_t count;

	if (!map || !get_uint32(env, argv[2], &count))
		return NULL;
	while (count-- > 0)
		if (bpf_map_update_elem(bpf_map__fd(map), NULL, &count, BPF_ANY))
			return fail(env, "stack push", errno);
	return NULL;
}

/* mapDelete(handle, map, key) -> was there such an entry? */
static napi_value host_map_delete(napi_env env, napi_callback_info info)
{
	ARGUMENTS(3)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	void *key;
	size_t key_size;

	if (!map || !get_bytes(env, argv[2], &key, &key_size))
		return NULL;
	if (key_size != bpf_map__key_size(map))
		return fail(env, "key size", EINVAL);
	int error = bpf_map_delete_elem(bpf_map__fd(map), key) ? errno : 0;
	napi_value was_there;

	if (error && error != ENOENT)
		return fail(env, "map delete", error);
	napi_get_boolean(env, !error, &was_there);
	return was_there;
}

/* A per-CPU array's only value, as 64-bit words: those of one CPU after those of another. NULL
 * if it cannot be read, with an exception pending. */
static uint64_t *read_by_cpu(napi_env env, struct bpf_map *map, size_t words, int *cpus)
{
	uint64_t *values;
	uint32_t zero = 0;

	*cpus = libbpf_num_possible_cpus();
	values = *cpus > 0 ? calloc(*cpus * words, 8) : NULL;
	if (!values) {
		fail(env, "counters", ENOMEM);
		return NULL;
	}
	if (bpf_map_lookup_elem(bpf_map__fd(map), &zero, values)) {
		fail(env, "counters", errno);
		free(values);
		return NULL;
	}
	return values;
}

static size_t words_of(struct bpf_map *map)
{
	return (bpf_map__value_size(map) + 7) / 8;
}

/* mapByCpu(handle, map, from, count): Float64Array of the words from `from` on, `count` of each CPU */
static napi_value host_map_by_cpu(napi_env env, napi_callback_info info)
{
	ARGUMENTS(4)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	uint32_t from = 0, count = 0;
	napi_value buffer, array = NULL;
	uint64_t *values;
	double *out;
	int cpus;

	if (!map)
		return NULL;
	size_t words = words_of(map);

	napi_get_value_uint32(env, argv[2], &from);
	napi_get_value_uint32(env, argv[3], &count);
	if (from > words || count > words - from)
		return fail(env, "counters", EINVAL);
	values = read_by_cpu(env, map, words, &cpus);
	if (!values)
		return NULL;
	if (napi_create_arraybuffer(env, cpus * count * sizeof(double), (void **)&out, &buffer) ==
	    napi_ok) {
		for (int cpu = 0; cpu < cpus; cpu++)
			for (uint32_t i = 0; i < count; i++)
				out[cpu * count + i] = values[cpu * words + from + i];
		napi_create_typedarray(env, napi_float64_array, cpus * count, buffer, 0, &array);
	}
	free(values);
	return array;
}

/* mapSum(handle, map, out: Float64Array): a per-CPU array's only value, as 64-bit
 * words summed over the CPUs */
static napi_value host_map_sum(napi_env env, napi_callback_info info)
{
	ARGUMENTS(3)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	napi_typedarray_type type;
	uint64_t *values;
	size_t length;
	double *sums;
	int cpus;

	if (!map)
		return NULL;
	if (napi_get_typedarray_info(env, argv[2], &type, &length, (void **)&sums, NULL, NULL) !=
		    napi_ok ||
	    type != napi_float64_array)
		return fail(env, "a Float64Array was expected", EINVAL);
	size_t words = words_of(map);

	values = read_by_cpu(env, map, words, &cpus);
	if (!values)
		return NULL;
	for (size_t i = 0; i < length && i < words; i++) {
		double sum = 0;

		for (int cpu = 0; cpu < cpus; cpu++)
			sum += values[cpu * words + i];
		sums[i] = sum;
	}
	free(values);
	return NULL;
}

static void ring_finalize(napi_env env, void *data, void *hint)
{
	struct ring *ring = data;

	(void)env;
	(void)hint;
	munmap(ring->consumer, ring->page);
	munmap((void *)ring->producer, ring->page + ring->size);
	if (ring->spare)
		munmap(ring->spare, SPARE_BYTES);
	free(ring);
}

/* ring(handle, map) -> ring handle */
static napi_value host_ring(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	napi_value out;

	if (!map)
		return NULL;
	struct ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return fail(env, "ring", ENOMEM);
	ring->fd = bpf_map__fd(map);
	ring->size = bpf_map__max_entries(map);
	ring->page = sysconf(_SC_PAGESIZE);
	ring->consumer = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (ring->consumer == MAP_FAILED) {
		free(ring);
		return fail(env, "mmap of a ring", errno);
	}
	/* The kernel offers the data twice in a row, so that no record is cut by the end. Pages
	 * that are mapped twice are resident twice: a record that is cut is copied in two. */
	ring->producer = mmap(NULL, ring->page + ring->size, PROT_READ, MAP_SHARED, ring->fd,
			      ring->page);
	if (ring->producer == MAP_FAILED) {
		munmap(ring->consumer, ring->page);
		free(ring);
		return fail(env, "mmap of a ring", errno);
	}
	ring->data = (const uint8_t *)ring->producer + ring->page;
	ring->taken = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	napi_create_external(env, ring, ring_finalize, NULL, &out);
	return out;
}

/* ringPosition(ring) -> bytes ever produced */
static napi_value host_ring_position(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct ring *ring = get_external(env, argv[0]);

	if (!ring)
		return NULL;
	return number(env, (double)__atomic_load_n(ring->producer, __ATOMIC_ACQUIRE));
}

/* ringTaken(ring) -> position up to which it has been drained */
static napi_value host_ring_taken(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct ring *ring = get_external(env, argv[0]);

	return ring ? number(env, (double)ring->taken) : NULL;
}

/* ringFill(ring) -> bytes that lie in the kernel's ring */
static napi_value host_ring_fill(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct ring *ring = get_external(env, argv[0]);

	if (!ring)
		return NULL;
	return number(env, (double)(__atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) -
				    __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE)));
}

/* ringSpared(ring) -> bytes that lie in its spare room */
static napi_value host_ring_spared(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct ring *ring = get_external(env, argv[0]);

	if (!ring)
		return NULL;
	return number(env, (double)(__atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE) - ring->taken));
}

/* Of a record with its header, from the header's first word. */
static size_t padded_bytes(uint32_t length)
{
	length &= ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	return BPF_RINGBUF_HDR_SZ + ((length + 7) & ~7U);
}

/* A ring of a power of two: the bytes that begin at `position` may lie in two pieces. */
static size_t to_end(unsigned long position, size_t size, size_t bytes)
{
	size_t left = size - (position & (size - 1));

	return bytes < left ? bytes : left;
}

static void copy_out(const uint8_t *from, size_t size, uint8_t *to, unsigned long position, size_t bytes)
{
	size_t first = to_end(position, size, bytes);

	memcpy(to, from + (position & (size - 1)), first);
	memcpy(to + first, from, bytes - first);
}

static void copy_to_spare(const struct ring *ring, unsigned long position, size_t bytes)
{
	size_t first = to_end(position, SPARE_BYTES, bytes);

	copy_out(ring->data, ring->size, ring->spare + (position & (SPARE_BYTES - 1)), position, first);
	copy_out(ring->data, ring->size, ring->spare, position + first, bytes - first);
}

static const uint32_t *header_at(const uint8_t *from, size_t size, unsigned long position)
{
	return (const uint32_t *)(from + (position & (size - 1)));
}

static bool has_spare(struct ring *ring)
{
	if (!ring->spare) {
		void *spare = mmap(NULL, SPARE_BYTES, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		ring->spare = spare == MAP_FAILED ? NULL : spare;
	}
	return ring->spare;
}

/* ringRelieve(ring, most) -> bytes moved. Whole records, from the ring to its spare room, until `most` bytes lie there:
 * the ring has room again before anybody has looked at them. */
static napi_value host_ring_relieve(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	struct ring *ring = get_external(env, argv[0]);
	double most;

	if (!ring || napi_get_value_double(env, argv[1], &most) != napi_ok)
		return NULL;
	unsigned long consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	unsigned long producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	unsigned long from = consumer;
	size_t room = most < SPARE_BYTES ? (size_t)most : SPARE_BYTES;

	if (!has_spare(ring))
		return number(env, 0);
	while (consumer < producer) {
		uint32_t length =
			__atomic_load_n(header_at(ring->data, ring->size, consumer), __ATOMIC_ACQUIRE);
		size_t bytes = padded_bytes(length);

		if (length & BPF_RINGBUF_BUSY_BIT || consumer + bytes - ring->taken > room)
			break;
		copy_to_spare(ring, consumer, bytes);
		consumer += bytes;
	}
	if (consumer > from)
		ring->is_spare_used = true;
	__atomic_store_n(ring->consumer, consumer, __ATOMIC_RELEASE);
	return number(env, (double)(consumer - from));
}

/* ringSettle(ring): its spare room is given back to the kernel, if nothing lies there. */
static napi_value host_ring_settle(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct ring *ring = get_external(env, argv[0]);

	if (!ring || !ring->is_spare_used || ring->taken < __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE))
		return NULL;
	ring->is_spare_used = false;
	madvise(ring->spare, SPARE_BYTES, MADV_DONTNEED);
	return NULL;
}

/* drain(ring, slab: Uint8Array, upTo: position, passesUnwritten) -> bytes filled. Copies whole
 * records, each padded to 8 bytes, in one go: 25-35 ns a record, against microseconds
 * for a callback into JavaScript each. What lies in the spare room comes first. Stops at a record that is still being
 * written, at upTo, or when the slab is full. It may pass what is still being written:
 * then a header of no kind stands for it. */
static napi_value host_drain(napi_env env, napi_callback_info info)
{
	static const struct event_header unwritten = { .size = sizeof(unwritten) };
	ARGUMENTS(4)
	struct ring *ring = get_external(env, argv[0]);
	uint8_t *slab;
	size_t room, filled = 0;
	double limit;
	bool passes_unwritten;

	if (!ring || !get_bytes(env, argv[1], (void **)&slab, &room) ||
	    napi_get_value_double(env, argv[2], &limit) != napi_ok ||
	    napi_get_value_bool(env, argv[3], &passes_unwritten) != napi_ok)
		return NULL;
	unsigned long at = ring->taken;
	unsigned long consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	unsigned long producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);

	if (limit < (double)producer)
		producer = (unsigned long)limit;
	while (at < producer) {
		bool is_spared = at < consumer;
		const uint8_t *from = is_spared ? ring->spare : ring->data;
		size_t size = is_spared ? SPARE_BYTES : ring->size;
		uint32_t length = __atomic_load_n(header_at(from, size, at), __ATOMIC_ACQUIRE);

		if (length & BPF_RINGBUF_BUSY_BIT && !passes_unwritten)
			break;
		size_t bytes = padded_bytes(length), record_bytes = bytes - BPF_RINGBUF_HDR_SZ;

		if (length & BPF_RINGBUF_BUSY_BIT) {
			if (filled + sizeof(unwritten) > room)
				break;
			memcpy(slab + filled, &unwritten, sizeof(unwritten));
			filled += sizeof(unwritten);
		} else if (!(length & BPF_RINGBUF_DISCARD_BIT)) {
			if (filled + record_bytes > room)
				break;
			copy_out(from, size, slab + filled, at + BPF_RINGBUF_HDR_SZ, record_bytes);
			filled += record_bytes;
		}
		at += bytes;
	}
	ring->taken = at;
	if (at > consumer)
		__atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
	return number(env, (double)filled);
}

/* clock(out: Float64Array(5)): boot seconds, boot nanoseconds, wall seconds, wall
 * nanoseconds, read within (ns); the tightest of a few tries */
static napi_value host_clock(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	double *out, best = 1e18;
	size_t length;

	if (napi_get_typedarray_info(env, argv[0], NULL, &length, (void **)&out, NULL, NULL) !=
		    napi_ok ||
	    length < 5)
		return fail(env, "a Float64Array(5) was expected", EINVAL);
	for (int i = 0; i < 8; i++) {
		struct timespec before, wall, after;

		clock_gettime(CLOCK_BOOTTIME, &before);
		clock_gettime(CLOCK_REALTIME, &wall);
		clock_gettime(CLOCK_BOOTTIME, &after);
		double width = (after.tv_sec - before.tv_sec) * 1e9 + (after.tv_nsec - before.tv_nsec);

		if (width >= best)
			continue;
		best = width;
		out[0] = before.tv_sec;
		out[1] = before.tv_nsec + width / 2;
		out[2] = wall.tv_sec;
		out[3] = wall.tv_nsec;
		out[4] = width;
	}
	return NULL;
}

/* tickNs(): nanoseconds between two ticks of the kernel's timer, which the coarse
 * clocks advance by (1 / CONFIG_HZ) */
static napi_value host_tick_ns(napi_env env, napi_callback_info info)
{
	struct timespec tick;

	(void)info;
	if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick))
		return fail(env, "clock_getres", errno);
	return number(env, tick.tv_sec * 1e9 + tick.tv_nsec);
}

/* enableStats(handle): the kernel measures run time while this handle lives. */
static napi_value host_enable_stats(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct object *object = get_external(env, argv[0]);

	if (!object)
		return NULL;
	if (object->stats_fd < 0)
		object->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
	return object->stats_fd < 0 ? fail(env, "bpf_enable_stats", errno) : NULL;
}

static void set_number(napi_env env, napi_value target, const char *name, double value)
{
	napi_set_named_property(env, target, name, number(env, value));
}

/* programs(handle) -> [{ name, loaded, runNs, runs, instructions, verified }] */
static napi_value host_programs(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct object *object = get_external(env, argv[0]);
	struct bpf_program *program;
	napi_value list, entry, text;
	uint32_t index = 0;

	if (!object)
		return NULL;
	napi_create_array(env, &list);
	bpf_object__for_each_program(program, object->bpf) {
		struct bpf_prog_info stats = {};
		__u32 size = sizeof(stats);
		int fd = bpf_program__fd(program);

		napi_create_object(env, &entry);
		napi_create_string_utf8(env, bpf_program__name(program), NAPI_AUTO_LENGTH, &text);
		napi_set_named_property(env, entry, "name", text);
		napi_create_string_utf8(env, bpf_program__section_name(program),
					NAPI_AUTO_LENGTH, &text);
		napi_set_named_property(env, entry, "section", text);
		if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &stats, &size))
			return fail(env, "program info", errno);
		set_number(env, entry, "id", stats.id);
		set_number(env, entry, "runNs", (double)stats.run_time_ns);
		set_number(env, entry, "runs", (double)stats.run_cnt);
		set_number(env, entry, "instructions", stats.xlated_prog_len / 8);
		set_number(env, entry, "verified", stats.verified_insns);
		set_number(env, entry, "missed", (double)stats.recursion_misses);
		napi_set_element(env, list, index++, entry);
	}
	return list;
}

/* Pages of code and constants that were touched once are resident for ever: 43 MB of Node.js when it has started, while it
 * runs on half of them. They come back from the page cache where they are needed, 16 at a time. What can be written to is
 * left alone. Of the program itself, which comes first, and of a library that Node.js may be; none goes meanwhile. */
static int unmap_program(struct dl_phdr_info *info, size_t size, void *data)
{
	size_t page = sysconf(_SC_PAGESIZE);
	int *count = data;

	(void)size;
	if ((*count)++ > 0 && !strstr(info->dlpi_name, "/libnode.so"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t from = info->dlpi_addr + part->p_vaddr, to = from + part->p_memsz;

		if (part->p_type != PT_LOAD || part->p_flags & PF_W)
			continue;
		from = (from + page - 1) & ~(page - 1);
		to &= ~(page - 1);
		if (from < to)
			madvise((void *)from, to - from, MADV_DONTNEED);
	}
	return 0;
}

/* releaseMemory(): what malloc holds and nobody uses goes back to the kernel, and pages of the program that are not in use. */
static napi_value host_release_memory(napi_env env, napi_callback_info info)
{
	int count = 0;

	(void)env;
	(void)info;
#ifdef __GLIBC__
	malloc_trim(0);
#endif
	dl_iterate_phdr(unmap_program, &count);
	return NULL;
}

/* dropCapabilities(low, high): keeps those of the mask, in all threads. Returns how many have kept more, -1 where
 * this cannot be done. */
static napi_value host_drop_capabilities(napi_env env, napi_callback_info info)
{
	uint32_t low, high;

	ARGUMENTS(2);
	if (!get_uint32(env, argv[0], &low) || !get_uint32(env, argv[1], &high))
		return NULL;
	return number(env, drop_capabilities((uint64_t)high << 32 | low));
}

/* Spans leave in buffers of some 100 kB to 1 MB, several a second. glibc would soon take these from its
 * heaps, which keep what they once had: 50 MB at 4,000 spans a second. A mapping goes with its buffer. */
#define MAPPED_FROM_BYTES (128 << 10)

static void keep_heaps_small(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
#endif
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback function;
	} table[] = {
		{ "open", host_open },
		{ "functions", host_functions },
		{ "close", host_close },
		{ "setConstant", host_set_constant },
		{ "setMapSize", host_set_map_size },
		{ "disable", host_disable },
		{ "share", host_share },
		{ "load", host_load },
		{ "loadAside", host_load_aside },
		{ "isLoaded", host_is_loaded },
		{ "attach", host_attach },
		{ "attachEvent", host_attach_event },
		{ "useMultiProbes", host_use_multi_probes },
		{ "attachUser", host_attach_user },
		{ "detachProgram", host_detach_program },
		{ "log", host_log },
		{ "mapMemory", host_map_memory },
		{ "mapSet", host_map_set },
		{ "fillStack", host_fill_stack },
		{ "mapDelete", host_map_delete },
		{ "mapByCpu", host_map_by_cpu },
		{ "mapSum", host_map_sum },
		{ "ring", host_ring },
		{ "ringPosition", host_ring_position },
		{ "ringTaken", host_ring_taken },
		{ "ringFill", host_ring_fill },
		{ "ringSpared", host_ring_spared },
		{ "ringRelieve", host_ring_relieve },
		{ "ringSettle", host_ring_settle },
		{ "drain", host_drain },
		{ "clock", host_clock },
		{ "tickNs", host_tick_ns },
		{ "enableStats", host_enable_stats },
		{ "releaseMemory", host_release_memory },
		{ "dropCapabilities", host_drop_capabilities },
		{ "programs", host_programs },
	};
	napi_value function;

	keep_heaps_small();
	libbpf_set_print(print);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		napi_create_function(env, table[i].name, NAPI_AUTO_LENGTH, table[i].function, NULL,
				     &function);
		napi_set_named_property(env, exports, table[i].name, function);
	}
	return exports;
}

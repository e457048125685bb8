/* SPDX-License-Identifier: Apache-2.0 */
/* BPF objects: opened, set up, loaded (here or in a thread aside), closed; and what libbpf and the verifier say meanwhile. */
#ifndef UNDERSPAN_HOST_OBJECT_H
#define UNDERSPAN_HOST_OBJECT_H
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "napi.h"

#define LINKS_MAX 128
#define DETACHERS 16
#define LOG_BYTES 65536

/* libbpf's printer has no context argument: one log per thread, the end is kept. */
static _Thread_local char log_text[LOG_BYTES];
static _Thread_local size_t log_used;

/* One of both. */
struct user_link {
	struct bpf_link *bpf;
	int fd;
};

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

	for (int i = share->first; i < share->object->user_link_count; i += DETACHERS) {
		struct user_link *link = &share->object->user_links[i];

		if (link->bpf)
			bpf_link__destroy(link->bpf);
		else
			close(link->fd);
	}
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

/* leaveMap(handle, map): out of the load. No program that is loaded may use it. */
static napi_value host_leave_map(napi_env env, napi_callback_info info)
{
	ARGUMENTS(2)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	int error;

	if (!map)
		return NULL;
	error = bpf_map__set_autocreate(map, false);
	return error ? fail(env, "leave map", error) : NULL;
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

/* share(handle, from): before the load; the maps of another object that is loaded, in place of own
 * ones. What that one has left out, this one makes or leaves out, too. */
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
		if (bpf_map__fd(shared) < 0)
			continue;
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

/* log() -> what libbpf and the verifier said since the last open, load or attach */
static napi_value host_log(napi_env env, napi_callback_info info)
{
	napi_value out;

	(void)info;
	napi_create_string_utf8(env, log_text, log_used, &out);
	return out;
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

#endif

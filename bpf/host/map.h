/* SPDX-License-Identifier: Apache-2.0 */
/* Maps: read, written, and mapped into memory. */
#ifndef UNDERSPAN_HOST_MAP_H
#define UNDERSPAN_HOST_MAP_H
#include <sys/mman.h>
#include "object.h"

static void unmap_finalize(napi_env env, void *data, void *hint)
{
	(void)env;
	munmap(data, (size_t)hint);
}

/* mapMemory(handle, map, bytes) -> ArrayBuffer over so many bytes of an mmapable array
 * map, 0: over all */
static napi_value host_map_memory(napi_env env, napi_callback_info info)
{
	ARGUMENTS(3)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	uint32_t wanted;
	napi_value out;

	if (!map || !get_uint32(env, argv[2], &wanted))
		return NULL;
	size_t page = sysconf(_SC_PAGESIZE);
	size_t value = (bpf_map__value_size(map) + 7) & ~(size_t)7;
	size_t bytes = value * bpf_map__max_entries(map);

	if (wanted && wanted < bytes)
		bytes = wanted;
	bytes = (bytes + page - 1) & ~(page - 1);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

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

/* mapSum(handle, map, out: Float64Array): a per-CPU array's only value, as 64-bit
 * words summed over the CPUs */
static napi_value host_map_sum(napi_env env, napi_callback_info info)
{
	ARGUMENTS(3)
	struct object *object = get_external(env, argv[0]);
	struct bpf_map *map = get_map(env, object, argv[1]);
	napi_typedarray_type type;
	size_t length;
	double *sums;

	if (!map)
		return NULL;
	if (napi_get_typedarray_info(env, argv[2], &type, &length, (void **)&sums, NULL, NULL) !=
		    napi_ok ||
	    type != napi_float64_array)
		return fail(env, "a Float64Array was expected", EINVAL);
	int cpus = libbpf_num_possible_cpus();
	size_t words = (bpf_map__value_size(map) + 7) / 8;
	uint64_t *values = cpus > 0 ? calloc(cpus * words, 8) : NULL;
	uint32_t zero = 0;

	if (!values)
		return fail(env, "counters", ENOMEM);
	if (bpf_map_lookup_elem(bpf_map__fd(map), &zero, values)) {
		free(values);
		return fail(env, "counters", errno);
	}
	for (size_t i = 0; i < length && i < words; i++) {
		double sum = 0;

		for (int cpu = 0; cpu < cpus; cpu++)
			sum += values[cpu * words + i];
		sums[i] = sum;
	}
	free(values);
	return NULL;
}

#endif

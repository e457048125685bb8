/* SPDX-License-Identifier: Apache-2.0 */
/* Which functions the kernel has, by its BTF. */
#ifndef UNDERSPAN_HOST_FUNCTIONS_H
#define UNDERSPAN_HOST_FUNCTIONS_H
#include "object.h"

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

#endif

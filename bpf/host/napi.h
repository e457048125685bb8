/* SPDX-License-Identifier: Apache-2.0 */
/* What every function of the addon does with its arguments and its failures. */
#ifndef UNDERSPAN_HOST_NAPI_H
#define UNDERSPAN_HOST_NAPI_H
#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 128

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

#endif

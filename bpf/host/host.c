// SPDX-License-Identifier: Apache-2.0
/*
 * The only user-space C: libbpf behind a narrow N-API. In: object files, knobs,
 * names. Out: attached programs, batches of records, map values. Every failure
 * becomes a JavaScript Error with the errno name and libbpf's own words.
 * Node-API 8 only, context-aware, so that it runs unchanged in worker threads and
 * on every Node from 18 on.
 */
#define NAPI_VERSION 8
#include <time.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include "attach.h"
#include "capabilities.h"
#include "functions.h"
#include "map.h"
#include "napi.h"
#include "object.h"
#include "ring.h"

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

/* releaseMemory(): what malloc holds and nobody uses goes back to the kernel. */
static napi_value host_release_memory(napi_env env, napi_callback_info info)
{
	(void)env;
	(void)info;
#ifdef __GLIBC__
	malloc_trim(0);
#endif
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
		{ "leaveMap", host_leave_map },
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
		{ "mapSum", host_map_sum },
		{ "ring", host_ring },
		{ "ringPosition", host_ring_position },
		{ "ringTaken", host_ring_taken },
		{ "ringFill", host_ring_fill },
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

/* SPDX-License-Identifier: Apache-2.0 */
/* Ring buffers, emptied in whole batches. */
#ifndef UNDERSPAN_HOST_RING_H
#define UNDERSPAN_HOST_RING_H
#include <sys/mman.h>
#include "../event.h"
#include "object.h"

struct ring {
	unsigned long *consumer; /* one writable page */
	const unsigned long *producer; /* one page, then the data */
	const uint8_t *data;
	size_t size, page;
	int fd;
};

static void ring_finalize(napi_env env, void *data, void *hint)
{
	struct ring *ring = data;

	(void)env;
	(void)hint;
	munmap(ring->consumer, ring->page);
	munmap((void *)ring->producer, ring->page + ring->size);
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

/* ringTaken(ring) -> position up to which the ring has been drained */
static napi_value host_ring_taken(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct ring *ring = get_external(env, argv[0]);

	if (!ring)
		return NULL;
	return number(env, (double)__atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE));
}

/* ringFill(ring) -> bytes produced and not yet drained */
static napi_value host_ring_fill(napi_env env, napi_callback_info info)
{
	ARGUMENTS(1)
	struct ring *ring = get_external(env, argv[0]);

	if (!ring)
		return NULL;
	return number(env, (double)(__atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) -
				    __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE)));
}

static void copy_out(const struct ring *ring, uint8_t *to, unsigned long position, size_t bytes)
{
	size_t at = position & (ring->size - 1);
	size_t first = bytes < ring->size - at ? bytes : ring->size - at;

	memcpy(to, ring->data + at, first);
	memcpy(to + first, ring->data, bytes - first);
}

/* drain(ring, slab: Uint8Array, upTo: position, passesUnwritten) -> bytes filled. Copies whole
 * records, each padded to 8 bytes, in one go: 25-35 ns a record, against microseconds
 * for a callback into JavaScript each. Stops at a record that is still being
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
	unsigned long consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	unsigned long producer = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);

	if (limit < (double)producer)
		producer = (unsigned long)limit;
	while (consumer < producer) {
		const uint32_t *header =
			(const uint32_t *)(ring->data + (consumer & (ring->size - 1)));
		uint32_t length = __atomic_load_n(header, __ATOMIC_ACQUIRE);

		if (length & BPF_RINGBUF_BUSY_BIT && !passes_unwritten)
			break;
		size_t bytes =
			((length & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT)) + 7) & ~7U;

		if (length & BPF_RINGBUF_BUSY_BIT) {
			if (filled + sizeof(unwritten) > room)
				break;
			memcpy(slab + filled, &unwritten, sizeof(unwritten));
			filled += sizeof(unwritten);
		} else if (!(length & BPF_RINGBUF_DISCARD_BIT)) {
			if (filled + bytes > room)
				break;
			copy_out(ring, slab + filled, consumer + BPF_RINGBUF_HDR_SZ, bytes);
			filled += bytes;
		}
		consumer += bytes + BPF_RINGBUF_HDR_SZ;
	}
	__atomic_store_n(ring->consumer, consumer, __ATOMIC_RELEASE);
	return number(env, (double)filled);
}

#endif

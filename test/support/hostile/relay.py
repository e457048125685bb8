#!/usr/bin/python3
"""A bad network in user space, for kernels without netem: joins two network namespaces by a TUN device in each, and delays,
loses and reorders the packets between them by a seeded random. In: namespaces, delay and shares as arguments; a line on
standard input asks for the log. Out: `ready`, then for each line all TCP segments delivered so far, with the boot clock
before and after the delivery.
"""
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
PACKETS_MAX = 4096


def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def open_device(namespace, name):
    descriptor = os.open("/run/netns/" + namespace, os.O_RDONLY)
    if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns " + namespace)
    os.close(descriptor)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def segment_of(packet):
    """Ports, sequence number of the first byte, bytes of payload, is it a SYN; None if it is not TCP over IPv4."""
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != 6:
        return None
    head = (packet[0] & 15) * 4
    total = struct.unpack_from("!H", packet, 2)[0]
    source, target, seq = struct.unpack_from("!HHI", packet, head)
    payload = total - head - (packet[head + 12] >> 4) * 4
    return [source, target, seq, payload, packet[head + 13] >> 1 & 1]


def main():
    client, server, delay_ms, lost, reordered, seed = sys.argv[1:7]
    delay_ns, lost, reordered = float(delay_ms) * 1e6, float(lost), float(reordered)
    chance = random.Random(int(seed))
    devices = [open_device(client, "bad0"), open_device(server, "bad0")]
    waiting = []
    log = []
    counts = {"lost": 0, "reordered": 0, "delivered": 0}
    number = 0
    print("ready", flush=True)
    while True:
        timeout = max(0, (waiting[0][0] - now()) / 1e9) if waiting else None
        readable, _, _ = select.select([*devices, sys.stdin], [], [], timeout)
        for source in readable:
            if source is sys.stdin:
                if not sys.stdin.readline():
                    return
                print(json.dumps({"segments": log, **counts}), flush=True)
                continue
            packet = os.read(source, 65536)
            if chance.random() < lost or len(waiting) >= PACKETS_MAX:
                counts["lost"] += 1
                continue
            due = now() + delay_ns
            if chance.random() < reordered:
                due += delay_ns / 2
                counts["reordered"] += 1
            number += 1
            heapq.heappush(waiting, (due, number, devices[1 - devices.index(source)], packet))
        while waiting and waiting[0][0] <= now():
            _, _, target, packet = heapq.heappop(waiting)
            enter = now()
            try:
                os.write(target, packet)
            except OSError:
                counts["lost"] += 1
                continue
            segment = segment_of(packet)
            counts["delivered"] += 1
            if segment is not None:
                log.append([*segment, enter, now()])


os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
main()

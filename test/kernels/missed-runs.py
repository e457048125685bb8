"""Which BPF programs the kernel skipped runs of: a line each, with the number. As root."""
import ctypes
import os
import struct

SYSCALL = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
PROG_GET_NEXT_ID, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD = 11, 13, 15
# struct bpf_prog_info (include/uapi/linux/bpf.h)
NAME, RECURSION_MISSES, SIZE = 64, 208, 224
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    return libc.syscall(SYSCALL, command, buffer, 128), buffer.raw


program = 0
while True:
    status, raw = bpf(PROG_GET_NEXT_ID, struct.pack("<II", program, 0))
    if status:
        break
    program = struct.unpack_from("<I", raw, 4)[0]
    fd, _ = bpf(PROG_GET_FD_BY_ID, struct.pack("<I", program))
    if fd < 0:
        continue  # unloaded meanwhile
    info = ctypes.create_string_buffer(SIZE)
    bpf(OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", fd, SIZE, ctypes.addressof(info)))
    os.close(fd)
    missed = struct.unpack_from("<Q", info.raw, RECURSION_MISSES)[0]
    if missed:
        print(info.raw[NAME : NAME + 16].rstrip(b"\0").decode(), missed)

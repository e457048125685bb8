# Prints the ids of all BPF programs, maps and links that the kernel holds, one "prog 12" a line, by bpf(2) itself.
# Exit code 1 with a message when the kernel refuses.
import ctypes
import errno
import os
import platform
import sys

SYSCALL_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
NEXT_ID = {"prog": 11, "map": 12, "link": 31}  # enum bpf_cmd: BPF_*_GET_NEXT_ID


class Attributes(ctypes.Structure):
    _fields_ = [("start_id", ctypes.c_uint32), ("next_id", ctypes.c_uint32), ("open_flags", ctypes.c_uint32)]


libc = ctypes.CDLL(None, use_errno=True)
for kind, command in NEXT_ID.items():
    attributes = Attributes()
    while libc.syscall(SYSCALL_BPF, command, ctypes.byref(attributes), ctypes.sizeof(attributes)) == 0:
        print(kind, attributes.next_id)
        attributes.start_id = attributes.next_id
    if ctypes.get_errno() != errno.ENOENT:
        sys.exit("bpf(%s next id): %s" % (kind, os.strerror(ctypes.get_errno())))

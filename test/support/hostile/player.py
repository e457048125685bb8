#!/usr/bin/python3
"""Plays stories: a client and a server process that do to a connection exactly what they are told, call by call, and log
each call with the boot clock read right before and after it. In: one story as JSON per line of standard input. Out: one
log as JSON per line of standard output. Both sides run with real-time priority, so that their clocks can be trusted.
"""
import ctypes
import errno
import fcntl
import gc
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
STUCK_AFTER_S = 8
CLONE_NEWNET = 0x40000000
SIOCOUTQ = 0x5411
SIOCOUTQNSD = 0x894B


def now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class MsgHdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.POINTER(IoVec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class MMsgHdr(ctypes.Structure):
    _fields_ = [("header", MsgHdr), ("length", ctypes.c_uint)]


def messages(buffers):
    """An array of mmsghdr over `buffers`, one iovec each, and what must be kept alive with it."""
    vectors = (IoVec * len(buffers))()
    headers = (MMsgHdr * len(buffers))()
    for index, buffer in enumerate(buffers):
        vectors[index].base = ctypes.addressof(buffer)
        vectors[index].length = len(buffer)
        headers[index].header.iov = ctypes.pointer(vectors[index])
        headers[index].header.iovlen = 1
    return headers, vectors


def pieces(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


class Ring:
    """An io_uring of one entry: an operation is submitted and waited for by one io_uring_enter."""

    ACCEPT = 13
    SEND = 26
    RECEIVE = 27
    SETUP = 425
    ENTER = 426
    GET_EVENTS = 1

    def __init__(self):
        params = ctypes.create_string_buffer(120)
        self.descriptor = LIBC.syscall(self.SETUP, 1, params)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        sq_entries, cq_entries = struct.unpack_from("II", params, 0)
        self.sq_tail, self.sq_array = struct.unpack_from("4xI16xI", params, 40)
        self.cq_head, self.cqes = struct.unpack_from("I16xI", params, 80)
        size = max(self.sq_array + 4 * sq_entries, self.cqes + 16 * cq_entries)
        self.rings = mmap.mmap(self.descriptor, size, mmap.MAP_SHARED, offset=0)
        self.entries = mmap.mmap(self.descriptor, 64 * sq_entries, mmap.MAP_SHARED, offset=0x10000000)

    def run(self, operation, descriptor, buffer, length):
        """The result of one operation, negative errno if it failed."""
        address = 0 if buffer is None else ctypes.addressof(buffer)
        entry = struct.pack("BBHiQQIIQQQQ", operation, 0, 0, descriptor, 0, address, length, 0, 0, 0, 0, 0)
        self.entries[: len(entry)] = entry
        struct.pack_into("I", self.rings, self.sq_array, 0)
        (tail,) = struct.unpack_from("I", self.rings, self.sq_tail)
        struct.pack_into("I", self.rings, self.sq_tail, tail + 1)
        if LIBC.syscall(self.ENTER, self.descriptor, 1, 1, self.GET_EVENTS, None, 0) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        (head,) = struct.unpack_from("I", self.rings, self.cq_head)
        # Twice as many completions fit as there are entries.
        (result,) = struct.unpack_from("8xi", self.rings, self.cqes + 16 * (head & 1))
        struct.pack_into("I", self.rings, self.cq_head, head + 1)
        return result


class Side:
    """One side of a connection: its socket, the bytes that it has yet to send, and the log of its calls."""

    def __init__(self, data, to_peer, from_peer):
        self.socket = None
        self.uring = None
        self.facts = None
        self.data = data
        self.sent = 0
        self.log = []
        self.to_peer = to_peer
        self.handshake = None
        self.from_peer = from_peer

    def note(self, kind, count, enter, leave):
        self.log.append([kind, count, enter, leave, os.getpid()])

    def run(self, steps):
        for step in steps:
            name, *arguments = step
            executor, _, method = name.rpartition(":")
            if executor == "thread":
                self.in_thread(method, arguments)
            elif executor == "child":
                self.in_child(method, arguments)
            else:
                getattr(self, "do_" + method)(*arguments)

    def in_thread(self, method, arguments):
        failures = []

        def body():
            try:
                getattr(self, "do_" + method)(*arguments)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    def in_child(self, method, arguments):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                self.log = []
                getattr(self, "do_" + method)(*arguments)
                os.write(writer, json.dumps([self.sent, self.log]).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            text = stream.read()
        _, status = os.waitpid(child, 0)
        if status != 0:
            raise RuntimeError("the child failed in " + method)
        self.sent, log = json.loads(text)
        self.log += log

    # -- sending: `count` bytes of what is left, 0 for all of it

    def take(self, count):
        data = self.data[self.sent : self.sent + count] if count else self.data[self.sent :]
        self.sent += len(data)
        return data

    def failed(self, error, enter):
        self.note("error " + errno.errorcode[error.errno], 0, enter, now())

    def send_with(self, call, data):
        """Calls until `data` is sent; a failure is logged and ends it."""
        done = 0
        while done < len(data):
            part = data[done:]
            enter = now()
            try:
                count = call(part)
                leave = now()
            except OSError as error:
                self.failed(error, enter)
                return
            self.note("send", count, enter, leave)
            done += count

    def do_send(self, count=0, flags=0):
        self.send_with(lambda part: self.socket.send(part, flags), self.take(count))

    def do_write(self, count=0):
        descriptor = self.socket.fileno()
        self.send_with(lambda part: os.write(descriptor, part), self.take(count))

    def do_send_pieces(self, count=0, size=1, pause_ms=0):
        for piece in pieces(self.take(count), size):
            self.send_with(self.socket.send, piece)
            if pause_ms:
                time.sleep(pause_ms / 1000)

    def do_writev(self, count=0, size=7):
        descriptor = self.socket.fileno()
        self.send_with(lambda part: os.writev(descriptor, pieces(part, size)[:1024]), self.take(count))

    def do_sendmsg(self, count=0, size=7):
        self.send_with(lambda part: self.socket.sendmsg(pieces(part, size)[:1024]), self.take(count))

    def do_sendmmsg(self, count=0, size=7):
        data = self.take(count)
        buffers = [ctypes.create_string_buffer(piece, len(piece)) for piece in pieces(data, size)]
        headers, _keep = messages(buffers)
        enter = now()
        done = LIBC.sendmmsg(self.socket.fileno(), headers, len(buffers), 0)
        leave = now()
        if done != len(buffers):
            raise RuntimeError("sendmmsg sent %d of %d" % (done, len(buffers)))
        for index in range(done):
            self.note("send", headers[index].length, enter, leave)

    def do_sendfile(self, count=0):
        with tempfile.TemporaryFile() as file:
            data = self.take(count)
            file.write(data)
            file.flush()
            done = 0
            while done < len(data):
                enter = now()
                moved = os.sendfile(self.socket.fileno(), file.fileno(), done, len(data) - done)
                leave = now()
                self.note("send", moved, enter, leave)
                done += moved

    def do_splice(self, count=0, size=65536):
        reader, writer = os.pipe()
        for piece in pieces(self.take(count), size):
            os.write(writer, piece)
            left = len(piece)
            while left:
                enter = now()
                moved = os.splice(reader, self.socket.fileno(), left)
                leave = now()
                self.note("send", moved, enter, leave)
                left -= moved
        os.close(reader)
        os.close(writer)

    def do_send_nonblocking(self, count=0):
        """Short writes: as much as the buffer takes, then wait, then the rest."""
        data = self.take(count)
        self.socket.setblocking(False)
        poll = select.poll()
        poll.register(self.socket, select.POLLOUT)
        done = 0
        while done < len(data):
            enter = now()
            try:
                moved = self.socket.send(data[done:])
            except BlockingIOError:
                poll.poll(STUCK_AFTER_S * 1000)
                continue
            leave = now()
            self.note("send", moved, enter, leave)
            done += moved
        self.socket.setblocking(True)
        self.bound_waits()

    # -- receiving: exactly `count` bytes, at most `size` in a call

    def receive_with(self, call, count, size):
        left = count
        while left > 0:
            enter = now()
            try:
                got = call(min(left, size))
                leave = now()
            except OSError as error:
                self.failed(error, enter)
                return
            if got == 0:
                self.note("eof", 0, enter, leave)
                return
            self.note("receive", got, enter, leave)
            left -= got

    def do_receive(self, count, size=65536, flags=0):
        self.receive_with(lambda most: len(self.socket.recv(most, flags)), count, size)

    def do_receive_some(self, most=65536):
        """One call, whatever it brings."""
        enter = now()
        try:
            got = len(self.socket.recv(most))
            self.note("receive" if got else "eof", got, enter, now())
        except OSError as error:
            self.failed(error, enter)

    def do_read(self, count, size=65536):
        descriptor = self.socket.fileno()
        self.receive_with(lambda most: len(os.read(descriptor, most)), count, size)

    def do_readv(self, count, size=64):
        descriptor = self.socket.fileno()
        self.receive_with(lambda most: os.readv(descriptor, self.split_buffers(most)), count, size)

    def split_buffers(self, most):
        first = max(1, most // 3)
        return [bytearray(first), bytearray(most - first)] if most > first else [bytearray(most)]

    def do_recvmsg(self, count, size=64):
        self.receive_with(lambda most: self.socket.recvmsg_into(self.split_buffers(most))[0], count, size)

    def do_recvmmsg(self, count, size=16):
        left = count
        while left > 0:
            buffers = [ctypes.create_string_buffer(size) for _ in range(max(1, left // size))]
            headers, _keep = messages(buffers)
            enter = now()
            done = LIBC.recvmmsg(self.socket.fileno(), headers, len(buffers), 0x10000, None)  # MSG_WAITFORONE
            leave = now()
            if done <= 0 or headers[0].length == 0:
                raise RuntimeError("recvmmsg gave %d" % done)
            for index in range(done):
                self.note("receive", headers[index].length, enter, leave)
                left -= headers[index].length

    def do_peek(self, most=65536):
        self.socket.recv(most, socket.MSG_PEEK)

    def do_receive_nonblocking(self, count, size=65536):
        self.socket.setblocking(False)
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        left = count
        while left > 0:
            enter = now()
            try:
                got = len(self.socket.recv(min(left, size)))
            except BlockingIOError:
                poll.poll(STUCK_AFTER_S * 1000)
                continue
            self.note("receive" if got else "eof", got, enter, now())
            if not got:
                break
            left -= got
        self.socket.setblocking(True)
        self.bound_waits()

    def do_receive_splice(self, count, size=65536):
        reader, writer = os.pipe()
        descriptor = self.socket.fileno()

        def move(most):
            got = os.splice(descriptor, writer, most)
            if got:
                os.read(reader, got)
            return got

        self.receive_with(move, count, size)
        os.close(reader)
        os.close(writer)

    def do_receive_eof(self):
        enter = now()
        try:
            got = self.socket.recv(1)
            self.note("eof" if not got else "receive", len(got), enter, now())
        except OSError as error:
            self.failed(error, enter)

    # -- io_uring, one operation at a time

    def ring(self):
        if self.uring is None:
            self.uring = Ring()
        return self.uring

    def do_send_uring(self, count=0):
        data = self.take(count)
        done = 0
        while done < len(data):
            enter = now()
            moved = self.ring().run(Ring.SEND, self.socket.fileno(), ctypes.create_string_buffer(data[done:]), len(data) - done)
            if moved <= 0:
                raise OSError(-moved, "send by io_uring")
            self.note("send", moved, enter, now())
            done += moved

    def do_receive_uring(self, count, size=65536):
        self.receive_with(
            lambda most: self.ring().run(Ring.RECEIVE, self.socket.fileno(), ctypes.create_string_buffer(most), most), count, size
        )

    # -- the rest

    def do_facts(self):
        """What TCP says of itself at this moment, for the last call."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        rwnd, sndbuf = struct.unpack_from("QQ", info, 176)
        queued, unsent = [
            struct.unpack("i", fcntl.ioctl(self.socket.fileno(), request, bytes(4)))[0] for request in (SIOCOUTQ, SIOCOUTQNSD)
        ]
        self.facts = {"rwndMs": rwnd / 1000, "sndbufMs": sndbuf / 1000, "unsent": unsent, "unacked": queued - unsent}

    def do_sleep(self, ms):
        time.sleep(ms / 1000)

    def do_tell(self):
        os.write(self.to_peer, b".")

    def do_wait(self):
        ready, _, _ = select.select([self.from_peer], [], [], STUCK_AFTER_S)
        if not ready:
            raise RuntimeError("the peer did not tell")
        os.read(self.from_peer, 1)

    def do_shutdown(self, how=socket.SHUT_WR):
        enter = now()
        self.socket.shutdown(how)
        self.note("shutdown", 0, enter, now())

    def do_close(self):
        if self.socket is None:
            return
        enter = now()
        self.socket.close()
        self.note("close", 0, enter, now())
        self.socket = None

    def do_reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.do_close()

    def do_nagle(self):
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)

    def do_buffers(self, send=0, receive=0):
        if send:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send)
        if receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)

    def adopt(self, connection):
        self.socket = connection
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bound_waits()

    def bound_waits(self):
        wait = struct.pack("ll", STUCK_AFTER_S, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)

    def tcp_facts(self):
        """Retransmitted segments and round trip time in microseconds, from TCP_INFO."""
        if self.socket is None or self.socket.family == socket.AF_UNIX:
            return None
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        return {"retransmits": struct.unpack_from("I", info, 100)[0], "rttUs": struct.unpack_from("I", info, 68)[0]}


FAMILIES = {"ipv4": (socket.AF_INET, "127.0.0.1"), "ipv6": (socket.AF_INET6, "::1")}


def listen(story):
    family, address = FAMILIES[story["family"]]
    listener = socket.socket(family, socket.SOCK_STREAM)
    if story["serverReceiveBuffer"]:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, story["serverReceiveBuffer"])
    listener.bind((story["address"] or address, 0))
    listener.listen(16)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", STUCK_AFTER_S, 0))
    return listener


def serve(story, side):
    listener = listen(story)
    os.write(side.to_peer, struct.pack("H", listener.getsockname()[1]))
    if story["acceptDelayMs"]:
        time.sleep(story["acceptDelayMs"] / 1000)
    enter = now()
    if story["isAcceptedByRing"]:
        descriptor = side.ring().run(Ring.ACCEPT, listener.fileno(), None, 0)
        if descriptor < 0:
            raise OSError(-descriptor, "accept by io_uring")
    else:
        descriptor, _peer = listener._accept()
    leave = now()
    side.adopt(socket.socket(fileno=descriptor))
    side.note("accept", 0, enter, leave)
    own, peer = side.socket.getsockname(), side.socket.getpeername()
    listener.close()
    side.run(story["server"])
    return {"port": own[1], "peerPort": peer[1]}


def ask(story, side):
    (port,) = struct.unpack("H", os.read(side.from_peer, 2))
    family, address = FAMILIES[story["family"]]
    connection = socket.socket(family, socket.SOCK_STREAM)
    side.adopt(connection)
    if story["clientSendBuffer"]:
        side.do_buffers(send=story["clientSendBuffer"])
    if story["clientReceiveBuffer"]:
        side.do_buffers(receive=story["clientReceiveBuffer"])
    enter = now()
    connection.connect((story["address"] or address, port))
    side.note("connect", 0, enter, now())
    side.handshake = side.tcp_facts()
    own = connection.getsockname()
    side.run(story["client"])
    return {"port": own[1], "peerPort": port}


def enter_namespace(name):
    if not name:
        return
    descriptor = os.open("/run/netns/" + name, os.O_RDONLY)
    if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns " + name)
    os.close(descriptor)


def play(body, story, data, to_peer, from_peer):
    side = Side(bytes.fromhex(data), to_peer, from_peer)
    facts = {}
    failure = ""
    gc.disable()
    try:
        facts = body(story, side)
        tcp = side.tcp_facts()
        if tcp is not None and side.handshake is not None:
            tcp["retransmits"] -= side.handshake["retransmits"]
        side.do_close()
    except BaseException as error:
        failure = "%s: %s" % (type(error).__name__, error)
        tcp = None
        if side.socket is not None:
            side.socket.close()
    finally:
        gc.enable()
    unsent = len(side.data) - side.sent
    return {"pid": os.getpid(), "log": side.log, "failure": failure, "unsent": unsent, "tcp": tcp, "facts": side.facts, **facts}


def serve_forever(stories, to_peer, from_peer):
    """The server's process: stories come one a line, logs go back one a line."""
    reader, writer = stories
    with os.fdopen(reader) as lines, os.fdopen(writer, "w") as results:
        for line in lines:
            story = json.loads(line)
            results.write(json.dumps(play(serve, story, story["responseBytes"], to_peer, from_peer)) + "\n")
            results.flush()


def main():
    client_namespace, server_namespace = (sys.argv + ["", ""])[1:3]
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    story_reader, story_writer = os.pipe()
    result_reader, result_writer = os.pipe()
    server_reads, client_tells = os.pipe()
    client_reads, server_tells = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(story_writer)
        os.close(result_reader)
        sys.stdin.close()
        enter_namespace(server_namespace)
        serve_forever((story_reader, result_writer), server_tells, server_reads)
        os._exit(0)
    os.close(story_reader)
    os.close(result_writer)
    enter_namespace(client_namespace)
    with os.fdopen(story_writer, "w") as stories, os.fdopen(result_reader) as results:
        for line in sys.stdin:
            story = json.loads(line)
            clock = time.clock_gettime_ns(time.CLOCK_REALTIME) - now()
            stories.write(line.rstrip("\n") + "\n")
            stories.flush()
            client = play(ask, story, story["requestBytes"], client_tells, client_reads)
            server = json.loads(results.readline())
            print(json.dumps({"wallMinusBootNs": clock, "client": client, "server": server}), flush=True)
    os.waitpid(child, 0)


signal.signal(signal.SIGPIPE, signal.SIG_IGN)
main()

# Does with sockets what the name in argv says, and tells exactly what it did: one JSON object per line, a line per side
# of a connection (ports, bytes sent and received, calls that moved bytes). Prints "ready", waits for a line on stdin
# (probes get attached, this process gets selected), and goes.
import array
import ctypes
import fcntl
import json
import os
import random
import socket
import struct
import sys
import tempfile
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
SIDES = []


def boot_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Side:
    """One end of a connection, with the account of what went through it."""

    def __init__(self, name, sock, pid=None, ports=None):
        self.name, self.sock, self.pid = name, sock, pid or os.getpid()
        self.sent, self.got, self.writes, self.reads = b"", b"", 0, 0
        self.facts = {}
        self.family = sock.family.name
        if sock.family == socket.AF_UNIX:
            self.local = self.remote = 0
        elif ports:
            self.local, self.remote = ports
        else:
            self.local, self.remote = sock.getsockname()[1], sock.getpeername()[1]
        SIDES.append(self)

    def wrote(self, count, data):
        self.sent += bytes(data[:count])
        self.writes += 1
        return count

    def took(self, data):
        self.got += bytes(data)
        self.reads += 1
        return data

    def send(self, data):
        """All of it, however many calls that takes."""
        while data:
            data = data[self.wrote(self.sock.send(data), data):]

    def recv(self, count):
        """Exactly so many bytes."""
        taken = b""
        while len(taken) < count:
            data = self.took(self.sock.recv(count - len(taken)))
            assert data
            taken += data
        return taken

    def tell(self):
        print(json.dumps({
            "name": self.name, "pid": self.pid, "family": self.family, "local": self.local, "remote": self.remote,
            "sent": self.sent.hex() if len(self.sent) <= 65536 else "", "got": self.got.hex() if len(self.got) <= 65536 else "",
            "sentBytes": len(self.sent), "gotBytes": len(self.got), "writes": self.writes, "reads": self.reads,
            **self.facts}), flush=True)


def listener(family=socket.AF_INET, address="127.0.0.1"):
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind((address, 0) if family != socket.AF_UNIX else address)
    sock.listen(8)
    return sock


def pair(family=socket.AF_INET, address="127.0.0.1", target=None, suffix=""):
    listening = listener(family, address)
    client = socket.socket(socket.AF_INET if target else family, socket.SOCK_STREAM)
    if family == socket.AF_UNIX:
        client.connect(address)
    else:
        client.connect((target or address, listening.getsockname()[1]))
    accepted, _ = listening.accept()
    listening.close()
    return Side("client" + suffix, client), Side("server" + suffix, accepted)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.POINTER(Iovec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("header", Msghdr), ("length", ctypes.c_uint32)]


def mmsg(buffers):
    """sendmmsg's and recvmmsg's array: one message of one iovec per buffer."""
    messages = (Mmsghdr * len(buffers))()
    messages.buffers = buffers  # ctypes keeps no hold of what addresses point to
    for message, buffer in zip(messages, buffers):
        message.header.iov = ctypes.pointer(Iovec(ctypes.addressof(buffer), len(buffer)))
        message.header.iovlen = 1
    return messages


def buffers_of(*parts):
    return [(ctypes.c_char * len(part)).from_buffer_copy(part) for part in parts]


def every_write():
    client, server = pair()
    sock, fd = client.sock, client.sock.fileno()
    for count, data in [
        (sock.send(b"send "), b"send "),
        (LIBC.sendto(fd, b"sendto ", 7, 0, None, 0), b"sendto "),
        (os.write(fd, b"write "), b"write "),
        (os.writev(fd, [b"wri", b"", b"tev", b" "]), b"writev "),
        (sock.sendmsg([b"send", b"msg "]), b"sendmsg "),
        (os.writev(fd, [b"a" * 5] * 8), b"a" * 40),
    ]:
        client.wrote(count, data)
    parts = [b"first-of-many ", b"second ", b"third "]
    messages = mmsg(buffers_of(*parts))
    assert LIBC.sendmmsg(fd, messages, 3, 0) == 3
    for part in parts:
        client.wrote(len(part), part)
    server.recv(len(client.sent))
    finish(client, server)


def every_read():
    client, server = pair()
    sock, fd = server.sock, server.sock.fileno()

    def given(text):
        client.send(text)
        time.sleep(0.005)

    given(b"0123456789" * 10)
    server.took(sock.recv(10))
    server.took(os.read(fd, 10))
    server.took(sock.recvfrom(10)[0])
    first, second, third = bytearray(3), bytearray(4), bytearray(3)
    assert os.readv(fd, [first, second, third]) == 10
    server.took(first + second + third)
    server.took(sock.recvmsg(10)[0])
    assert sock.recvmsg_into([first, second, third])[0] == 10
    server.took(first + second + third)
    assert sock.recv(5, socket.MSG_PEEK) == b"01234"
    assert sock.recvmsg(5, 0, socket.MSG_PEEK)[0] == b"01234"
    view = bytearray(10)
    assert sock.recv_into(view) == 10
    server.took(view)
    buffers = [ctypes.create_string_buffer(10) for _ in range(3)]
    messages = mmsg(buffers)
    for message in messages:
        message.header.iov[0].length = 10
    assert LIBC.recvmmsg(fd, messages, 3, socket.MSG_DONTWAIT, None) == 3
    for message, buffer in zip(messages, buffers):
        server.took(buffer.raw[:message.length])
    # A read that is offered more room than there are bytes.
    given(b"short")
    large = [bytearray(4), bytearray(4000)]
    assert os.readv(fd, large) == 5
    server.took(large[0] + large[1][:1])
    finish(client, server)


def nonblocking():
    client, server = pair()
    for side in (client, server):
        side.sock.setblocking(False)
    try:
        server.sock.recv(10)
        raise AssertionError("nothing was there to read")
    except BlockingIOError:
        pass
    data = bytes(range(256)) * 4096 * 4
    short = 0
    while data:
        try:
            count = client.wrote(client.sock.send(data), data)
            short += count < len(data)
            data = data[count:]
        except BlockingIOError:
            try:
                while True:
                    server.took(server.sock.recv(100_000))
            except BlockingIOError:
                pass
    client.facts["shortWrites"] = short
    client.sock.shutdown(socket.SHUT_WR)
    server.sock.setblocking(True)
    while True:
        data = server.sock.recv(100_000)
        if not data:
            break
        server.took(data)
    finish(client, server)


def in_progress():
    listening = listener()
    client = socket.socket()
    client.setblocking(False)
    # A handshake on loopback is over before connect returns; the answer is EINPROGRESS all the same.
    assert client.connect_ex(listening.getsockname()) == 115
    accepted, _ = listening.accept()
    client.setblocking(True)
    client, server = Side("client", client), Side("server", accepted)
    client.send(b"hello")
    server.recv(5)
    finish(client, server)
    listening.close()


def zero_copy():
    client, server = pair()
    with tempfile.TemporaryFile() as file:
        data = b"file " * 2000
        file.write(data)
        file.flush()
        client.wrote(os.sendfile(client.sock.fileno(), file.fileno(), 0, len(data)), data)
    into, out = os.pipe()
    os.write(out, b"through a pipe")
    client.wrote(os.splice(into, client.sock.fileno(), 100), b"through a pipe")
    server.recv(len(data))
    count = os.splice(server.sock.fileno(), out, 14)
    server.took(os.read(into, count))
    client.send(b"plain")
    server.recv(5)
    finish(client, server)


def threads():
    client, server = pair()
    lock = threading.Lock()
    TURNS, EACH = 60, 50

    def write(letter):
        for _ in range(TURNS):
            count = client.sock.send(letter * EACH)
            assert count == EACH
            with lock:
                client.writes += 1

    workers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c", b"d")]
    for worker in workers:
        worker.start()
    server.recv(4 * TURNS * EACH)
    for worker in workers:
        worker.join()
    client.sent = server.got  # the order on the wire is the receiver's to tell
    finish(client, server)


def fork():
    client, server = pair()
    child = os.fork()
    if child == 0:
        SIDES.clear()
        serving = Side("child", server.sock)
        serving.recv(4)
        serving.send(b"from the child")
        serving.tell()
        os._exit(0)
    server.sock.close()
    SIDES.remove(server)
    client.send(b"ping")
    client.recv(14)
    os.waitpid(child, 0)
    finish(client)


def duplicate():
    client, server = pair()
    other = client.sock.dup()
    client.send(b"original ")
    client.sock.close()
    client.sock = other
    client.send(b"duplicate ")
    third = os.dup2(other.fileno(), 200)
    other.close()
    client.wrote(os.write(third, b"dup2"), b"dup2")
    server.recv(23)
    client.facts["closeNs"] = boot_ns()
    os.close(third)
    assert server.sock.recv(1) == b""
    server.sock.close()
    tell()


def passed():
    """The accepted socket is served by another process, which never accepted anything."""
    client, server = pair()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        for fd in (client.sock.fileno(), server.sock.fileno()):
            os.close(fd)
        SIDES.clear()
        _, control, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(4))
        fd = struct.unpack("i", control[0][2])[0]
        serving = Side("passed", socket.socket(fileno=fd))
        serving.recv(4)
        serving.send(b"served elsewhere")
        serving.tell()
        os._exit(0)
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [server.sock.fileno()]))])
    server.sock.close()
    SIDES.remove(server)
    client.send(b"ping")
    client.recv(16)
    os.waitpid(child, 0)
    finish(client)


def reuse():
    listening = listener()
    numbers = set()
    for turn in range(20):
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        numbers.add((client.fileno(), accepted.fileno()))
        client, server = Side("client", client), Side("server", accepted)
        client.send(b"turn %d" % turn)
        server.recv(len(client.sent))
        server.send(b"t" * turn + b".")
        client.recv(turn + 1)
        client.sock.close()
        server.sock.close()
    listening.close()
    assert len(numbers) == 1
    tell()


def turns():
    """Connections of several requests each, more of them than small rings have room for."""
    listening = listener()
    for number in range(40):
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        for turn in range(1 + number % 5):
            client.sendall(b"request")
            assert accepted.recv(100) == b"request"
            accepted.sendall(b"answer")
            assert client.recv(100) == b"answer"
        client.close()
        accepted.close()
        time.sleep(0.004)
    listening.close()


SEATS = 8  # of the table, see seats.test.ts


def beside(count, step):
    """So many processes at once, each with a connection of its own; modulo SEATS their ids are `step` apart."""
    begin, go = os.pipe()
    children, wanted = [], os.getpid() + 1
    while len(children) < count:
        child = os.fork()
        if child == 0:
            os.close(go)
            if os.getpid() % SEATS != wanted % SEATS:
                os._exit(0)
            client, server = pair()
            os.read(begin, 1)  # the end: all are there
            for turn in range(200):
                client.send(b"request")
                server.recv(7)
                server.send(b"answer")
                client.recv(6)
            close(client, server)
            with open(__file__) as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                tell()
            os._exit(0)
        if child % SEATS == wanted % SEATS:
            children.append(child)
            wanted += step
        else:
            os.waitpid(child, 0)
    os.close(go)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


def seated():
    beside(3, 0)


def crowded():
    beside(20, 1)


def families():
    for name, arguments in [
        ("4", (socket.AF_INET, "127.0.0.1")),
        ("6", (socket.AF_INET6, "::1")),
        ("mapped", (socket.AF_INET6, "::", "127.0.0.1")),
    ]:
        client, server = pair(*arguments, suffix=name)
        client.send(b"over " + name.encode())
        server.recv(len(client.sent))
        close(client, server)
    tell()


def unix():
    directory = tempfile.mkdtemp()
    for name, address in [("named", directory + "/socket"), ("abstract", "\0underspan-test-%d" % os.getpid())]:
        client, server = pair(socket.AF_UNIX, address, suffix=name)
        client.facts["path"] = server.facts["path"] = address
        client.send(b"question")
        server.recv(8)
        server.send(b"answer, longer")
        client.recv(14)
        client.send(b"again")
        server.recv(5)
        close(client, server)
    os.unlink(directory + "/socket")
    os.rmdir(directory)
    address = "\0underspan-many-%d" % os.getpid()
    client, server = pair(socket.AF_UNIX, address, suffix="many")
    client.facts["path"] = server.facts["path"] = address
    messages = [b"one,", b"two,", b"three"]
    assert LIBC.sendmmsg(client.sock.fileno(), mmsg(buffers_of(*messages)), 3, 0) == 3
    for message in messages:
        client.wrote(len(message), message)
    server.recv(13)
    client.send(b"four")
    server.recv(4)
    close(client, server)
    # Two relatives on a socketpair are no connection.
    left, right = socket.socketpair()
    left.send(b"between relatives")
    right.recv(100)
    tell()


def ends():
    """Data and FIN in one read, end of stream, half close, reset, refusal."""
    client, server = pair(suffix=" fin")
    server.send(b"all and the end")
    server.sock.shutdown(socket.SHUT_WR)
    time.sleep(0.02)
    client.recv(15)
    assert client.sock.recv(1) == b""
    client.send(b"after the half close")
    server.recv(20)
    close(client, server)

    client, server = pair(suffix=" reset")
    client.send(b"before the reset")
    server.recv(16)
    server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.sock.close()
    time.sleep(0.01)
    try:
        client.sock.recv(1)
        raise AssertionError("a reset was expected")
    except ConnectionResetError:
        pass
    client.sock.close()

    vacant = listener()
    port = vacant.getsockname()[1]
    vacant.close()
    refused = socket.socket()
    assert refused.connect_ex(("127.0.0.1", port)) == 111
    refused.close()
    print(json.dumps({"name": "refused", "port": port}), flush=True)
    tell()


def abandoned():
    """Reset before it was accepted: it has no name any more, and what had come is read all the same."""
    listening = listener()
    sock = socket.socket()
    sock.connect(listening.getsockname())
    client = Side("client", sock)
    client.send(b"sent and gone")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    time.sleep(0.02)
    accepted, _ = listening.accept()
    server = Side("server", accepted, ports=(client.remote, client.local))
    server.recv(13)
    accepted.close()
    tell()


STRANGER = None


def stranger_setup():
    """A process that nobody has selected answers, and hangs up first."""
    global STRANGER
    STRANGER = listener()
    if os.fork():
        return
    for _ in range(5):
        accepted, _ = STRANGER.accept()
        accepted.sendall(b"x" * 5000)
        accepted.close()
    os._exit(0)


def stranger():
    for turn in range(5):
        client = Side(f"client{turn}", socket.create_connection(STRANGER.getsockname()))
        client.recv(5000)
        assert client.sock.recv(1) == b""
        client.sock.close()  # what ends the other socket now runs in this process
    tell()


def waits():
    listening = listener()
    before = boot_ns()
    client = Side("client", socket.create_connection(listening.getsockname()))
    connected = boot_ns()
    client.facts.update(beforeConnectNs=before, connectedNs=connected)
    time.sleep(0.03)
    accepted, _ = listening.accept()
    server = Side("server", accepted)
    listening.close()
    before = boot_ns()
    client.send(b"wait for it")
    server.facts.update(beforeSendNs=before, sentNs=boot_ns())
    time.sleep(0.05)
    server.facts["beforeReadNs"] = boot_ns()
    server.recv(11)
    server.facts["readNs"] = boot_ns()
    time.sleep(0.02)
    server.facts["beforeReplyNs"] = boot_ns()
    server.send(b"reply")
    server.facts["repliedNs"] = boot_ns()
    client.recv(5)
    finish(client, server)


def ping_pong():
    client, server = pair()
    for turn in range(5):
        client.send(b"question %d" % turn)
        server.recv(10)
        server.send(b"answer %d, longer" % turn)
        client.recv(16)
    finish(client, server)


OLD = None


def older_setup():
    global OLD
    OLD = pair()
    OLD[0].sock.send(b"before the probes")
    OLD[1].sock.recv(17)


def older():
    client, server = OLD
    client.send(b"after the attach")
    server.recv(16)
    server.send(b"seen")
    client.recv(4)
    finish(client, server)


def many_iovecs():
    client, server = pair()
    parts = [b"%02d," % index for index in range(80)]
    client.wrote(os.writev(client.sock.fileno(), parts), b"".join(parts))
    server.recv(240)
    client.send(b"in one piece")
    server.recv(12)
    finish(client, server)


def many_messages():
    client, server = pair()
    messages = [b"<%d>" % index for index in range(10)]
    assert LIBC.sendmmsg(client.sock.fileno(), mmsg(buffers_of(*messages)), 10, 0) == 10
    for message in messages:
        client.wrote(len(message), message)
    server.recv(30)
    client.send(b"in one piece")
    server.recv(12)
    finish(client, server)


UPGRADE = b"GET /socket HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


def frame(masked, size, first=0x81):
    short = size if size < 126 else 126 if size < 65536 else 127
    length = b"" if size < 126 else struct.pack(">H" if size < 65536 else ">Q", size)
    key = b"mask" if masked else b""
    return bytes([first, short | (0x80 if masked else 0)]) + length + key + b"\x81\x05" * (size // 2) + b"\x81" * (size % 2)


def frames(chance, masked):
    """Compressed ones, fragments, control frames, all ways to write a length."""
    sizes = [0, 1, 5, 124, 125, 126, 127, 200, 4096, 65535, 65536, 70000]
    for _ in range(chance.randrange(60)):
        if chance.random() < 0.2:
            yield frame(masked, chance.choice([0, 2, 125]), chance.choice([0x88, 0x89, 0x8a]))
        else:
            yield frame(masked, chance.choice(sizes), chance.choice([0x81, 0x82, 0xc1, 0x41, 0x01, 0x00, 0x80]))


def send_anyhow(side, data, chance, begun=None):
    """By calls of all kinds and sizes. Sets `begun` once the answer's head has been written."""
    fd = side.sock.fileno()
    while data:
        if begun and len(side.sent) >= len(SWITCHING):
            begun.set()
        piece = data[:chance.choice([1, 2, 3, 13, 14, 500, 5000, 100000])]
        parts, at = [], 0
        while at < len(piece) and len(parts) < 1000:
            size = chance.choice([1, 2, 4, 7, 300, 5000, 80000])
            parts.append(piece[at:at + size])
            at += size
        joined = b"".join(parts)
        way = chance.randrange(4)
        if way == 0:
            count = os.write(fd, piece)
        elif way == 1:
            count = os.writev(fd, parts)
        elif way == 2:
            count = side.sock.sendmsg(parts)
        else:
            messages = mmsg(buffers_of(*parts[:8]))
            for index in range(LIBC.sendmmsg(fd, messages, len(messages), 0)):
                side.wrote(messages[index].length, data)
                data = data[messages[index].length:]
            continue
        side.wrote(count, joined if way else piece)
        data = data[count:]
    if begun:
        begun.set()


def read_anyhow(side, wanted, chance, begun=None):
    if begun:
        begun.wait()  # as every server does that answers first and then reads frames
    fd = side.sock.fileno()
    while wanted:
        size = min(wanted, chance.choice([1, 2, 5, 14, 700, 5000, 200000]))
        if chance.random() < 0.5:
            data = os.read(fd, size)
        else:
            parts = [bytearray(min(size - at, 1 + size // 3)) for at in range(0, size, 1 + size // 3)]
            count = os.readv(fd, parts)
            data = b"".join(parts)[:count]
        side.took(data)
        wanted -= len(data)


def exchange_frames(suffix, asked, answered, chance):
    client, server = pair(suffix=suffix)
    client.facts = {"sentFrames": len(asked), "gotFrames": len(answered)}
    server.facts = {"sentFrames": len(answered), "gotFrames": len(asked)}
    client.send(UPGRADE)
    server.recv(len(UPGRADE))
    down, up = SWITCHING + b"".join(answered), b"".join(asked)
    begun = threading.Event()
    threads = [threading.Thread(target=send_anyhow, args=(server, down, random.Random(chance.random()), begun))]
    threads[0].start()
    read_anyhow(client, len(SWITCHING), chance)  # whoever asked waits for it
    threads += [
        threading.Thread(target=send_anyhow, args=(client, up, random.Random(chance.random()))),
        threading.Thread(target=read_anyhow, args=(server, len(up), random.Random(chance.random()), begun)),
    ]
    for thread in threads[1:]:
        thread.start()
    read_anyhow(client, len(down) - len(SWITCHING), chance)
    for thread in threads:
        thread.join()
    close(client, server)


def websockets():
    for seed in range(40):
        chance = random.Random(seed)
        asked, answered = list(frames(chance, True)), list(frames(chance, False))
        exchange_frames("-%d" % seed, asked, answered, chance)
    tell()


def bulk_frames():
    """As many in one call as are looked at, and more; none at all."""
    for name, asked, answered in [
        ("many", [frame(True, 10)] * 4000, [frame(False, 14)] * 4000),
        ("too-many", [], [frame(False, 0)] * 20000),
        ("masked", [], [frame(True, 5)]),
    ]:
        client, server = pair(suffix="-" + name)
        client.facts = {"sentFrames": len(asked), "gotFrames": len(answered)}
        server.facts = {"sentFrames": len(answered), "gotFrames": len(asked)}
        for side in (client, server):
            side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            side.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client.send(UPGRADE)
        server.recv(len(UPGRADE))
        down, up = b"".join(answered), b"".join(asked)
        server.send(SWITCHING + down)
        client.recv(len(SWITCHING))
        client.recv(len(down))
        client.send(up)
        server.recv(len(up))
        close(client, server)
    # An answer like any other, byte by byte: what it begins like is not enough.
    client, server = pair(suffix="-plain")
    answer = b"HTTP/1.1 102 Processing\r\n\r\n\x81\x00"
    client.send(UPGRADE)
    server.recv(len(UPGRADE))
    for at in range(len(answer)):
        server.send(answer[at:at + 1])
    for _ in answer:
        client.recv(1)
    close(client, server)
    tell()


def close(*sides):
    for side in sides:
        side.sock.close()


def tell():
    for side in SIDES:
        side.tell()


def finish(*sides):
    close(*sides)
    tell()


scenario = globals()[sys.argv[1]]
globals().get(sys.argv[1] + "_setup", lambda: None)()
print("ready", flush=True)
sys.stdin.readline()
scenario()

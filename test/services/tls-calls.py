"""OpenSSL's functions one by one, as C programs use them: its own client against its own server, both on the socket.
Usage: tls-calls.py PORT LOG. Log lines: {path, server, client} as the client knows the ports; certificate in TLS_KEY and
TLS_CERTIFICATE. One SSL object on many sockets (SSL_clear, SSL_set_fd), descriptors that are closed before or after their
object and come again, SSL_peek, the _ex functions, reads of a few bytes, KeyUpdate, renegotiation, resumption, SSL_sendfile."""

import ctypes
import json
import os
import socket
import sys
import threading

library = ctypes.CDLL("libssl.so.3")
POINTER, TEXT, INT, SIZE, LONG = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t, ctypes.c_long
ROOM = 70000
SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_2_VERSION = 124, 0x0303
SSL_OP_ENABLE_KTLS, SSL_OP_ALLOW_CLIENT_RENEGOTIATION = 1 << 3, 1 << 8


def function(name, *arguments, result=INT):
    found = getattr(library, name)
    found.argtypes, found.restype = arguments, result
    return found


TLS_method = function("TLS_method", result=POINTER)
SSL_CTX_new = function("SSL_CTX_new", POINTER, result=POINTER)
SSL_CTX_ctrl = function("SSL_CTX_ctrl", POINTER, INT, LONG, POINTER, result=LONG)
SSL_CTX_set_options = function("SSL_CTX_set_options", POINTER, ctypes.c_uint64, result=ctypes.c_uint64)
SSL_CTX_use_certificate_chain_file = function("SSL_CTX_use_certificate_chain_file", POINTER, TEXT)
SSL_CTX_use_PrivateKey_file = function("SSL_CTX_use_PrivateKey_file", POINTER, TEXT, INT)
SSL_new = function("SSL_new", POINTER, result=POINTER)
SSL_free = function("SSL_free", POINTER, result=None)
SSL_clear = function("SSL_clear", POINTER)
SSL_set_fd = function("SSL_set_fd", POINTER, INT)
SSL_set_connect_state = function("SSL_set_connect_state", POINTER, result=None)
SSL_connect = function("SSL_connect", POINTER)
SSL_accept = function("SSL_accept", POINTER)
SSL_do_handshake = function("SSL_do_handshake", POINTER)
SSL_renegotiate = function("SSL_renegotiate", POINTER)
SSL_key_update = function("SSL_key_update", POINTER, INT)
SSL_shutdown = function("SSL_shutdown", POINTER)
SSL_get1_session = function("SSL_get1_session", POINTER, result=POINTER)
SSL_set_session = function("SSL_set_session", POINTER, POINTER)
SSL_read = function("SSL_read", POINTER, POINTER, INT)
SSL_peek = function("SSL_peek", POINTER, POINTER, INT)
SSL_write = function("SSL_write", POINTER, TEXT, INT)
SSL_read_ex = function("SSL_read_ex", POINTER, POINTER, SIZE, POINTER)
SSL_peek_ex = function("SSL_peek_ex", POINTER, POINTER, SIZE, POINTER)
SSL_write_ex = function("SSL_write_ex", POINTER, TEXT, SIZE, POINTER)
SSL_sendfile = function("SSL_sendfile", POINTER, INT, LONG, SIZE, INT, result=ctypes.c_ssize_t)

port, log_file = int(sys.argv[1]), open(sys.argv[2], "w", buffering=1)
count = 0


def new_context(is_server, is_old=False):
    context = SSL_CTX_new(TLS_method())
    if is_old:
        SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_2_VERSION, None)
    if is_server:
        assert SSL_CTX_use_certificate_chain_file(context, os.environ["TLS_CERTIFICATE"].encode()) == 1
        assert SSL_CTX_use_PrivateKey_file(context, os.environ["TLS_KEY"].encode(), 1) == 1
        SSL_CTX_set_options(context, SSL_OP_ENABLE_KTLS | SSL_OP_ALLOW_CLIENT_RENEGOTIATION)
    return context


def send_file(session, size):
    """By the kernel's own TLS where it has that; else the ordinary way."""
    with open("/dev/zero", "rb") as file:
        if SSL_sendfile(session, file.fileno(), 0, size, 0) != size:
            assert SSL_write(session, b"s" * size, size) == size


def respond(session, path):
    size = int(path.split("/")[-1])
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    if "sendfile" in path:
        assert SSL_write(session, head, len(head)) == len(head)
        send_file(session, size)
        return
    if "server-keys" in path:
        assert SSL_key_update(session, 1) == 1
    assert SSL_write(session, head + b"x" * size, len(head) + size) == len(head) + size


def serve(context, connection):
    session = SSL_new(context)
    SSL_set_fd(session, connection.fileno())
    buffer = ctypes.create_string_buffer(ROOM)
    if SSL_accept(session) == 1:
        while (got := SSL_read(session, buffer, ROOM)) > 0:
            respond(session, buffer.raw[:got].split(b" ")[1].decode())
        SSL_shutdown(session)
    SSL_free(session)
    connection.close()


def listen(listener, context):
    while True:
        threading.Thread(target=serve, args=(context, listener.accept()[0]), daemon=True).start()


def read_some(session, buffer, how):
    size = SIZE(0)
    if how == "ex":
        assert SSL_peek_ex(session, buffer, 7, ctypes.byref(size)) == 1
        assert SSL_read_ex(session, buffer, ROOM, ctypes.byref(size)) == 1
        return size.value
    if how == "peek":
        assert SSL_peek(session, buffer, 1) == 1
    return SSL_read(session, buffer, 11 if how == "small" else ROOM)


def get(session, connection, name, body_bytes, how="plain"):
    global count
    count += 1
    path = f"/{name}/{how}/{count}/{body_bytes}"
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    size = SIZE(0)
    if how == "ex":
        assert SSL_write_ex(session, request, len(request), ctypes.byref(size)) == 1
    else:
        assert SSL_write(session, request, len(request)) == len(request)
    buffer, response, wanted = ctypes.create_string_buffer(ROOM), b"", None
    while wanted is None or len(response) < wanted:
        got = read_some(session, buffer, how)
        assert got > 0, path
        response += buffer.raw[:got]
        end = response.find(b"\r\n\r\n")
        wanted = end + 4 + body_bytes if end >= 0 else None
    assert len(response) == wanted, path
    log_file.write(json.dumps({"path": path, "server": port, "client": connection.getsockname()[1]}) + "\n")


def connect(session):
    connection = socket.create_connection(("127.0.0.1", port))
    SSL_set_fd(session, connection.fileno())
    SSL_set_connect_state(session)
    assert SSL_connect(session) == 1
    return connection


threading.Thread(
    target=listen, args=(socket.create_server(("127.0.0.1", port)), new_context(True)), daemon=True
).start()
context, old_context = new_context(False), new_context(False, is_old=True)

one = SSL_new(context)  # on five sockets, one after the other
for turn in range(5):
    SSL_clear(one)
    connection = connect(one)
    for how in ("plain", "ex", "peek", "small"):
        get(one, connection, "one-object", 300, how)
    if turn % 2:
        SSL_shutdown(one)
    connection.close()
SSL_free(one)

left = []
for turn in range(12):  # the same descriptor again and again, sometimes while the object that had it still exists
    session = SSL_new(context)
    connection = connect(session)
    get(session, connection, "one-descriptor", 100)
    connection.close()
    if turn % 3:
        SSL_free(session)
    else:
        left.append(session)

session = SSL_new(context)
connection = connect(session)
for name, body_bytes in (("before", 10), ("server-keys", 50000), ("after", 10)):
    get(session, connection, name, body_bytes)
SSL_key_update(session, 1)
for name, body_bytes in (("client-keys", 10), ("large", 65000), ("sendfile", 60000), ("after", 10)):
    get(session, connection, name, body_bytes)
SSL_shutdown(session)
connection.close()
SSL_free(session)

session = SSL_new(old_context)
connection = connect(session)
get(session, connection, "version-1.2", 10)
assert SSL_renegotiate(session) == 1 and SSL_do_handshake(session) == 1
get(session, connection, "renegotiated", 10)
get(session, connection, "renegotiated", 20000, "ex")
resumable = SSL_get1_session(session)
SSL_shutdown(session)
connection.close()
SSL_free(session)

session = SSL_new(old_context)
SSL_set_session(session, resumable)
connection = connect(session)
get(session, connection, "resumed", 10)
SSL_shutdown(session)
connection.close()
SSL_free(session)

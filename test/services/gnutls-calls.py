"""GnuTLS as C programs use it, on blocking sockets: `gnutls-calls.py PORT LOG TAG`, against an HTTPS server that keeps connections.
Log lines: {path, server, client} as the client knows the ports. Sessions come and go at the same address, with and without a
farewell, their descriptor closed before or after, again while the object that had it still exists."""

import ctypes
import json
import socket
import sys

library = ctypes.CDLL("libgnutls.so.30")
POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t
CLIENT, CERTIFICATE, SHUT_WR = 1 << 1, 1, 1
AGAIN, INTERRUPTED = -28, -52
SESSIONS, REQUESTS, ROOM = 30, 2, 4096


def function(name, *arguments, result=ctypes.c_int):
    found = getattr(library, name)
    found.argtypes, found.restype = arguments, result
    return found


allocate = function("gnutls_certificate_allocate_credentials", ctypes.POINTER(POINTER))
init = function("gnutls_init", ctypes.POINTER(POINTER), ctypes.c_uint)
set_priority = function("gnutls_set_default_priority", POINTER)
set_credentials = function("gnutls_credentials_set", POINTER, ctypes.c_int, POINTER)
set_socket = function("gnutls_transport_set_int2", POINTER, ctypes.c_int, ctypes.c_int, result=None)
handshake = function("gnutls_handshake", POINTER)
send = function("gnutls_record_send", POINTER, ctypes.c_char_p, SIZE, result=ctypes.c_ssize_t)
receive = function("gnutls_record_recv", POINTER, ctypes.c_char_p, SIZE, result=ctypes.c_ssize_t)
bye = function("gnutls_bye", POINTER, ctypes.c_int)
deinit = function("gnutls_deinit", POINTER, result=None)

port, log_file, tag = int(sys.argv[1]), open(sys.argv[2], "w", buffering=1), sys.argv[3]
credentials = POINTER()
assert allocate(ctypes.byref(credentials)) == 0
count = 0


def repeat(call, *arguments):
    while (result := call(*arguments)) in (AGAIN, INTERRUPTED):
        pass
    return result


def connect():
    connection = socket.create_connection(("127.0.0.1", port))
    session = POINTER()
    assert init(ctypes.byref(session), CLIENT) == 0
    assert set_priority(session) == 0 and set_credentials(session, CERTIFICATE, credentials) == 0
    set_socket(session, connection.fileno(), connection.fileno())
    assert repeat(handshake, session) == 0
    return connection, session


def get(connection, session):
    global count
    path = f"/{tag}/{count}"
    count += 1
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    assert repeat(send, session, request, len(request)) == len(request)
    buffer, response, wanted = ctypes.create_string_buffer(ROOM), b"", None
    while wanted is None or len(response) < wanted:
        got = repeat(receive, session, buffer, ROOM)
        assert got > 0, (path, got)
        response += buffer.raw[:got]
        end = response.find(b"\r\n\r\n")
        if end >= 0:
            head = response[:end].decode("latin-1").lower() + "\r\n"
            wanted = end + 4 + int(head.split("content-length: ")[1].split("\r")[0])
    log_file.write(json.dumps({"path": path, "server": port, "client": connection.getsockname()[1]}) + "\n")


addresses, left = [], []
for turn in range(SESSIONS):
    connection, session = connect()
    addresses.append(session.value)
    for _ in range(REQUESTS):
        get(connection, session)
    if turn % 2:
        bye(session, SHUT_WR)
    if turn % 3 == 0:
        deinit(session)
        connection.close()
    elif turn % 3 == 1:
        connection.close()
        deinit(session)
    else:  # the next one has its descriptor, and another address
        connection.close()
        left.append(session)
assert len(set(addresses)) < len(addresses), "no session came to the address of another one"

"""HTTP over TLS as Python has it, with an access log of JSON lines: `threads` is http.server, a thread per connection,
its SSL object on the socket; `asyncio` is one event loop, its SSL objects on memory buffers.
Usage: tls-server.py threads|asyncio PORT LOG, certificate in TLS_KEY and TLS_CERTIFICATE.
Paths: /bytes/SIZE/N, /status/CODE/N, anything else is 404."""

import asyncio
import http.server
import json
import os
import ssl
import sys
import time

kind, port, log_path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
log_file = open(log_path, "w", buffering=1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.environ["TLS_CERTIFICATE"], os.environ["TLS_KEY"])


def answer(path):
    """Status and body."""
    parts = path.split("?")[0].split("/")
    if len(parts) > 2 and parts[1] == "bytes":
        return 200, b"x" * int(parts[2])
    if len(parts) > 2 and parts[1] == "status":
        return int(parts[2]), b"status\n"
    return 404, b"not found\n"


def log(method, path, status, start):
    entry = {
        "method": method,
        "path": path.split("?")[0],
        "status": status,
        "startMs": start * 1000,
        "durationMs": (time.time() - start) * 1000,
    }
    log_file.write(json.dumps(entry) + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        start = time.time()
        status, body = answer(self.path)
        if status in (204, 304):
            body = b""
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")  # http.server closes without a word
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)
        self.wfile.flush()
        log(self.command, self.path, status, start)

    do_HEAD = do_GET

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # 5 would refuse some of many connections that come at once


def serve_threads():
    server = Server(("127.0.0.1", port), Handler)
    # The handshake is the connection's own thread's, at its first read.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


async def serve_one(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            start = time.time()
            method, path, _ = head.split("\r\n")[0].split(" ")
            status, body = answer(path)
            if status in (204, 304):
                body = b""
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            if method != "HEAD":
                writer.write(body)
            await writer.drain()
            log(method, path, status, start)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve_asyncio():
    server = await asyncio.start_server(serve_one, "127.0.0.1", port, ssl=context)
    await server.serve_forever()


if kind == "threads":
    serve_threads()
else:
    asyncio.run(serve_asyncio())

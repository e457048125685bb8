"""The same as tls-sessions.mjs by asyncio: `server PORTS LOG`, `client PORTS LOG TAG SESSIONS REQUESTS PAUSE_MS [close]`."""

import asyncio
import json
import os
import signal
import ssl
import sys

mode, ports = sys.argv[1], [int(port) for port in sys.argv[2].split(",")]
log_file = open(sys.argv[3], "w", buffering=1)
count = 0
is_ending = False


def end(*_):
    global is_ending
    is_ending = True


def log(path, server, client):
    log_file.write(json.dumps({"path": path, "server": server, "client": client}) + "\n")


async def answer(reader, writer):
    server, client = writer.get_extra_info("sockname")[1], writer.get_extra_info("peername")[1]
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ")[1]
            number = int(path.split("/")[-1])
            if number % 3 == 0:
                await asyncio.sleep(number % 7 / 1000)
            log(path, server, client)
            body = b"x" * (number * 37 % 3000)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["TLS_CERTIFICATE"], os.environ["TLS_KEY"])
    servers = [await asyncio.start_server(answer, "127.0.0.1", port, ssl=context, backlog=512) for port in ports]
    await asyncio.gather(*[server.serve_forever() for server in servers])


async def session(index, tag, requests, pause_ms, closes):
    global count
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    writer = None
    for turn in range(requests):
        if is_ending:
            break
        number, count = count, count + 1
        server = ports[(index + (turn if closes else 0)) % len(ports)]
        if writer is None:
            reader, writer = await asyncio.open_connection("127.0.0.1", server, ssl=context)
        path = f"/{tag}/{number}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r")[0]))
        log(path, server, writer.get_extra_info("sockname")[1])
        await asyncio.sleep((pause_ms + number % 4) / 1000)
        if closes:
            writer.close()
            writer = None
    if writer is not None:
        writer.close()


async def run(tag, sessions, requests, pause_ms, closes):
    await asyncio.gather(*[session(index, tag, requests, pause_ms, closes) for index in range(sessions)])


if mode == "server":
    asyncio.run(serve())
else:
    signal.signal(signal.SIGTERM, end)
    asyncio.run(run(sys.argv[4], *map(int, sys.argv[5:8]), len(sys.argv) > 8))

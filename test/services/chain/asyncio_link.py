"""A link of a chain on asyncio, see node.mjs: its own HTTP over streams, one pool of kept connections a service. TICK_MS: calls
of no request. THINK_MS: a timer before the calls. SOCKETS: the most connections of the pool, requests queue for them."""
import asyncio
import os
from urllib.parse import urlsplit

NEXT = [urlsplit(url).netloc for url in os.environ.get("NEXT", "").split(",") if url]
THINK = float(os.environ.get("THINK_MS", "0")) / 1000
TICK = float(os.environ.get("TICK_MS", "0")) / 1000
SOCKETS = int(os.environ.get("SOCKETS", "0"))
PARALLEL = os.environ.get("MODE") == "parallel"
pools = {}
limit = asyncio.Semaphore(SOCKETS) if SOCKETS else None


async def read_message(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return head


async def call(address, path):
    if limit is not None:
        async with limit:
            return await exchange(address, path)
    return await exchange(address, path)


async def exchange(address, path):
    pool = pools.setdefault(address, [])
    if pool:
        reader, writer = pool.pop()
    else:
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    await read_message(reader)
    pool.append((reader, writer))


async def serve(reader, writer):
    try:
        while True:
            head = await read_message(reader)
            path = head.split(b" ", 2)[1].decode()
            if THINK:
                await asyncio.sleep(THINK)
            calls = [call(address, f"{path}.{index + 1}") for index, address in enumerate(NEXT)]
            if PARALLEL:
                await asyncio.gather(*calls)
            else:
                for one in calls:
                    await one
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def tick():
    while True:
        await asyncio.sleep(TICK)
        await call(NEXT[0], "/c/tick")


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]))
    ticking = asyncio.ensure_future(tick()) if TICK else None
    async with server:
        await server.serve_forever()
    return ticking


asyncio.run(main())

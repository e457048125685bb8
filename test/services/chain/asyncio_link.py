"""A link of a chain on asyncio, see node.mjs: its own HTTP over streams, one pool of kept connections a service. TICK_MS: calls
of no request. THINK_MS: a timer before the calls. SOCKETS: the most connections of the pool, requests queue for them.
LOOP=uvloop: the loop.

MODE, who makes the calls: nothing, the task of the connection, in turn; `parallel`, a task for each; `handler`, a task for the
request, which also responds (as in aiohttp); `protocol`, the same without streams (as in uvicorn); `workers`, a task that
the first request starts and that ends when nobody has anything for it to do; `lazy`, one that never ends; `late`, the task of the
connection, the last call some time after the response; `stray`, a task that nobody waits for makes the last call; `callbacks`, no task;
`relay`, a task that hands the response to the one that started it, and goes on (as below Starlette's middleware); `relay_yield`, the
same, but that one yields before it waits for the response (as that middleware does); `workers_yield`, as `workers`, the latest call first,
but who waits yields first, and then looks by a timer whether it is done;
`threads`, functions that block, on threads (as in FastAPI); `thread_worker`, one such function, which a request starts and which
serves others, too, until nobody has anything for it to do; `executor`, functions that block, by run_in_executor; `tokens`,
one for each call, that makes the latest one which anybody waits for; `swap`, the task of the connection, three at a time, and
the latest call that anybody waits for, whose future it then sets; `swap_soon`, `swap_soon_soon`, `swap_later`, `swap_context`,
`swap_task`, the same, but a callback, a callback of one, a timer, another context, another task sets it; `swap_after`, the same, but the
task sets it when it waits for nothing else, or has responded; `next`, each sends the latest request that anybody has, and the response
sets the future of who has it; `meet`, a request's task waits for the future that the next request sets when it is read, or a timer; `early`, as `workers`, but who starts it waits for its end, and the others look later; `answerers`, a task that a request starts and that serves
others, too, the latest first, until there are none; `batch`, the same, but it answers when it has made the calls for all that
were there; `pool`, tasks that were there before, and take the latest call; `servers`, such tasks that take the latest request
and answer it; `buffers`, a task for each connection, which waits for a future that passes the reader's on, and takes requests out of
a buffer where they may be before it does (as in Tornado)."""
import asyncio
import collections
import contextvars
import http.client
import os
import random
import threading
from urllib.parse import urlsplit

NEXT = [urlsplit(url).netloc for url in os.environ.get("NEXT", "").split(",") if url]
THINK = float(os.environ.get("THINK_MS", "0")) / 1000
TICK = float(os.environ.get("TICK_MS", "0")) / 1000
SOCKETS = int(os.environ.get("SOCKETS", "0"))
MODE = os.environ.get("MODE", "")
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
pools = {}
limit = asyncio.Semaphore(SOCKETS) if SOCKETS else None
jobs = collections.deque()
job_came = asyncio.Event()
turns = asyncio.Semaphore(3)
tasks = set()
workers = []
waiting = []
after = contextvars.ContextVar("after")
queue = None
blocking = threading.local()
jobs_lock = threading.Lock()


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


def start(work):
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


async def drain_jobs():
    while jobs or MODE == "lazy":
        while not jobs:
            job_came.clear()
            await job_came.wait()
        address, path, done = jobs.pop() if MODE == "workers_yield" else jobs.popleft()
        await call(address, path)
        done.set_result(None)
    workers.clear()


async def by_worker(address, path):
    done = asyncio.get_running_loop().create_future()
    jobs.append((address, path, done))
    job_came.set()
    if not workers:
        workers.append(start(drain_jobs()))
    if MODE == "workers_yield":
        await asyncio.sleep(0)
        while not done.done():
            await asyncio.sleep(0.001)
    await done


def call_blocking(address, path):
    if not hasattr(blocking, "pool"):
        blocking.pool = {}
    connection = blocking.pool.setdefault(address, http.client.HTTPConnection(address, timeout=20))
    connection.request("GET", path)
    connection.getresponse().read()


async def by_thread(address, path):
    await asyncio.to_thread(call_blocking, address, path)


def drain_jobs_blocking(loop):
    while True:
        with jobs_lock:
            if not jobs:
                workers.clear()
                return
            address, path, done = jobs.popleft()
        call_blocking(address, path)
        loop.call_soon_threadsafe(done.set_result, None)


async def by_thread_worker(address, path):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    with jobs_lock:
        jobs.append((address, path, done))
        is_first = not workers
        if is_first:
            workers.append(True)
    if is_first:
        start(asyncio.to_thread(drain_jobs_blocking, loop))
    await done


async def by_executor(address, path):
    await asyncio.get_running_loop().run_in_executor(None, call_blocking, address, path)


def do_latest_job(loop):
    address, path, done = jobs.pop()
    call_blocking(address, path)
    loop.call_soon_threadsafe(done.set_result, None)


async def by_token(address, path):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    jobs.append((address, path, done))
    loop.run_in_executor(None, do_latest_job, loop)
    await done


async def work_in_pool():
    while True:
        address, path, done = await queue.get()
        await call(address, path)
        done.set_result(None)


async def by_pool(address, path):
    done = asyncio.get_running_loop().create_future()
    queue.put_nowait((address, path, done))
    await done


async def serve_in_pool():
    while True:
        await answer(*await queue.get())


async def by_early_job(address, path):
    """By the time that it is waited for it may be done; who has started the worker waits for its end."""
    done = asyncio.get_running_loop().create_future()
    jobs.append((address, path, done))
    mine = None
    if not workers:
        mine = start(drain_jobs())
        workers.append(mine)
    else:
        await asyncio.sleep(0.004)
    if mine:
        await mine
    await done


async def set_later(other):
    other.set_result(None)


def call_soon(*call):
    asyncio.get_running_loop().call_soon(*call)


TELL = {
    "swap": lambda other: other.set_result(None),
    "swap_soon": lambda other: call_soon(other.set_result, None),
    "swap_soon_soon": lambda other: call_soon(lambda: call_soon(other.set_result, None)),
    "swap_later": lambda other: asyncio.get_running_loop().call_later(0.001, other.set_result, None),
    "swap_context": lambda other: contextvars.copy_context().run(other.set_result, None),
    "swap_task": lambda other: start(set_later(other)),
    "swap_after": lambda other: after.get().append(other),
}


async def by_swap(address, path):
    done = asyncio.get_running_loop().create_future()
    jobs.append((address, path, done))
    async with turns:
        address, path, other = jobs.pop()
        await call(address, path)
        TELL[MODE](other)
    while not done.done():
        await asyncio.wait([done], timeout=0.004 if MODE == "swap_after" else None)
        if MODE == "swap_after":
            tell_after()


def tell_after():
    for other in after.get():
        other.set_result(None)
    after.get().clear()


async def by_next(address, path):
    """Sends the latest request that anybody has, whose future the response sets."""
    done = asyncio.get_running_loop().create_future()
    jobs.append((address, path, done))
    await asyncio.sleep(random.random() * 0.002)
    address, path, other = jobs.pop()
    pool = pools.setdefault(address, [])
    client = pool.pop() if pool else Client(address)
    client.ask(path, lambda: other.set_result(None))
    await done


BY = {
    "early": by_early_job,
    **dict.fromkeys(TELL, by_swap),
    "next": by_next,
    "pool": by_pool,
    "executor": by_executor,
    "tokens": by_token,
    "workers": by_worker,
    "lazy": by_worker,
    "workers_yield": by_worker,
    "threads": by_thread,
    "thread_worker": by_thread_worker,
}


async def make_calls(path):
    if THINK:
        await asyncio.sleep(THINK)
    one = BY.get(MODE, call)
    calls = [(address, f"{path}.{index + 1}") for index, address in enumerate(NEXT)]
    if MODE == "late":
        calls.pop()
    elif MODE == "stray":
        start(call(*calls.pop()))
    if MODE == "parallel":
        await asyncio.gather(*[one(*each) for each in calls])
    else:
        for each in calls:
            await one(*each)


async def hand_response(path, responses, written):
    await make_calls(path)
    responses.put_nowait(RESPONSE)
    await written.wait()


async def answer(head, writer):
    path = head.split(b" ", 2)[1].decode()
    if MODE in ("relay", "relay_yield"):
        responses, written = asyncio.Queue(), asyncio.Event()
        start(hand_response(path, responses, written))
        if MODE == "relay_yield":
            await asyncio.sleep(0)
        writer.write(await responses.get())
        written.set()
        return
    after.set([])
    await make_calls(path)
    writer.write(RESPONSE)
    tell_after()
    if MODE == "late":
        await asyncio.sleep(0.003)
        await call(NEXT[-1], f"{path}.{len(NEXT)}")


async def serve(reader, writer):
    try:
        while True:
            head = await read_message(reader)
            if MODE == "servers":
                queue.put_nowait((head, writer))
            elif MODE == "handler":
                await asyncio.get_running_loop().create_task(answer(head, writer))
            else:
                await answer(head, writer)
                await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def answer_all():
    while jobs:
        if MODE == "batch":
            batch = [jobs.popleft() for _ in range(len(jobs))]
            for head, _ in batch:
                await make_calls(head.split(b" ", 2)[1].decode())
            for _, transport in batch:
                transport.write(RESPONSE)
        else:
            await answer(*jobs.pop())
    workers.clear()


class Server(asyncio.Protocol):
    """Requests have no body, and come one at a time."""

    def connection_made(self, transport):
        self.transport = transport
        self.head = b""

    def data_received(self, data):
        self.head += data
        if self.head.endswith(b"\r\n\r\n"):
            head, self.head = self.head, b""
            if MODE == "protocol":
                start(answer(head, self.transport))
            elif MODE == "meet":
                while waiting:
                    one = waiting.pop()
                    if not one.done():
                        one.set_result(None)
                start(self.meet(head))
            elif MODE in ("answerers", "batch"):
                jobs.append((head, self.transport))
                if not workers:
                    workers.append(start(answer_all()))
            else:
                path = head.split(b" ", 2)[1].decode()
                self.calls = [(address, f"{path}.{index + 1}") for index, address in enumerate(NEXT)]
                self.go_on()

    async def meet(self, head):
        path = head.split(b" ", 2)[1].decode()
        loop = asyncio.get_running_loop()
        for index, address in enumerate(NEXT):
            one = loop.create_future()
            waiting.append(one)
            loop.call_later(0.03, lambda one=one: one.done() or one.set_result(None))
            await one
            pool = pools.setdefault(address, [])
            client = pool.pop() if pool else Client(address)
            done = loop.create_future()
            client.ask(f"{path}.{index + 1}", lambda done=done: done.set_result(None))
            await done
        self.transport.write(RESPONSE)

    def go_on(self):
        if not self.calls:
            self.transport.write(RESPONSE)
            return
        address, path = self.calls.pop(0)
        pool = pools.setdefault(address, [])
        client = pool.pop() if pool else Client(address)
        client.ask(path, self.go_on)


class Buffered(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray()
        self.came = None
        self.serving = start(self.serve())

    def connection_lost(self, error):
        self.serving.cancel()

    def data_received(self, data):
        self.buffer += data
        if self.came and not self.came.done():
            self.came.set_result(None)

    async def read_head(self):
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0:
                break
            loop = asyncio.get_running_loop()
            self.came, passed = loop.create_future(), loop.create_future()
            self.came.add_done_callback(lambda _: passed.done() or passed.set_result(None))
            await passed
        head = bytes(self.buffer[: end + 4])
        del self.buffer[: end + 4]
        return head

    async def serve(self):
        while True:
            head = await self.read_head()
            await start(answer(head, self.transport))
            for _ in range(5):
                await asyncio.sleep(0)


class Client(asyncio.Protocol):
    def __init__(self, address):
        self.address = address
        self.transport = None
        host, _, port = address.partition(":")
        start(asyncio.get_running_loop().create_connection(lambda: self, host, int(port)))

    def ask(self, path, done):
        self.request = f"GET {path} HTTP/1.1\r\nHost: {self.address}\r\n\r\n".encode()
        self.answer = b""
        self.done = done
        if self.transport:
            self.transport.write(self.request)

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        self.answer += data
        head, end, body = self.answer.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        if end and len(body) == length:
            pools[self.address].append(self)
            self.done()


async def tick():
    while True:
        await asyncio.sleep(TICK)
        await call(NEXT[0], "/c/tick")


async def main():
    port = int(os.environ["PORT"])
    if MODE in ("pool", "servers"):
        global queue
        queue = asyncio.LifoQueue()
        for _ in range(4):
            start(work_in_pool() if MODE == "pool" else serve_in_pool())
    if MODE in ("protocol", "callbacks", "answerers", "batch", "buffers", "meet"):
        protocol = Buffered if MODE == "buffers" else Server
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port)
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", port)
    ticking = asyncio.ensure_future(tick()) if TICK else None
    async with server:
        await server.serve_forever()
    return ticking


if os.environ.get("LOOP") == "uvloop":
    import uvloop

    uvloop.install()
asyncio.run(main())

"""A link of a chain on FastAPI, uvicorn and httpx, see node.mjs: one pool of kept connections. SOCKETS: the most connections of the pool,
requests queue for them. LOOP: uvicorn's, asyncio by default. MODE: nothing, an async function makes the calls in turn; `middleware`, the
same below two of Starlette's `BaseHTTPMiddleware`; also below such: `parallel`, the calls at once; `streams`, responses are read piece by
piece; `workers`, a task that the first request starts makes all calls, and ends when nobody has anything for it to do; `looks`, the
same, but nobody tells it of more, and it does the latest first; `swap`, three at a time make the latest call that anybody waits for;
`def`, a function that blocks, on a thread; `def_middleware`, the same below middleware; `jobs`, such a function, which uses an executor."""
import asyncio
import collections
import concurrent.futures
import http.client
import os
import threading
from urllib.parse import urlsplit

import fastapi
import httpx
import uvicorn

NEXT = [url for url in os.environ.get("NEXT", "").split(",") if url]
SOCKETS = int(os.environ.get("SOCKETS") or "0")
MODE = os.environ.get("MODE", "")
limits = httpx.Limits(max_connections=SOCKETS or 100, max_keepalive_connections=SOCKETS or 20)
app = fastapi.FastAPI()
client = httpx.AsyncClient(limits=limits, timeout=30)
jobs = collections.deque()
workers = []
turns = asyncio.Semaphore(3)
kept = threading.local()
executor = concurrent.futures.ThreadPoolExecutor(16) if MODE == "jobs" else None

if MODE not in ("", "def", "jobs"):
    for _ in range(2):

        @app.middleware("http")
        async def times(request, call_next):
            response = await call_next(request)
            response.headers["x-times"] = "1"
            return response


async def call(url):
    if MODE == "streams":
        async with client.stream("GET", url) as response:
            async for _ in response.aiter_raw():
                pass
    else:
        await client.get(url)


async def drain_jobs():
    while jobs:
        url, done = jobs.pop() if MODE == "looks" else jobs.popleft()
        await call(url)
        done.set_result(None)
    workers.clear()


async def by_worker(url):
    done = asyncio.get_running_loop().create_future()
    jobs.append((url, done))
    if not workers:
        workers.append(asyncio.get_running_loop().create_task(drain_jobs()))
    await done


async def by_swap(url):
    done = asyncio.get_running_loop().create_future()
    jobs.append((url, done))
    async with turns:
        url, other = jobs.pop()
        await call(url)
        other.set_result(None)
    await done


async def answer(folder: str, name: str):
    calls = [f"{url}/{folder}/{name}.{index + 1}" for index, url in enumerate(NEXT)]
    one = {"workers": by_worker, "looks": by_worker, "swap": by_swap}.get(MODE, call)
    if MODE == "parallel":
        await asyncio.gather(*[one(each) for each in calls])
    else:
        for each in calls:
            await one(each)
    return {"ok": True}


def call_blocking(url):
    parts = urlsplit(url)
    if not hasattr(kept, "connections"):
        kept.connections = {}
    if parts.netloc not in kept.connections:
        kept.connections[parts.netloc] = http.client.HTTPConnection(parts.netloc, timeout=20)
    connection = kept.connections[parts.netloc]
    connection.request("GET", parts.path)
    connection.getresponse().read()


def answer_blocking(folder: str, name: str):
    calls = [f"{url}/{folder}/{name}.{index + 1}" for index, url in enumerate(NEXT)]
    if executor:
        for future in [executor.submit(call_blocking, each) for each in calls]:
            future.result()
    else:
        for each in calls:
            call_blocking(each)
    return {"ok": True}


app.get("/{folder}/{name}")(answer_blocking if MODE in ("def", "def_middleware", "jobs") else answer)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), loop=os.environ.get("LOOP") or "asyncio", log_level="warning")

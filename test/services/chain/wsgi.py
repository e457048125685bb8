"""A link of a chain for gunicorn and waitress, see node.mjs: one keep-alive connection a thread and service. MODE, who makes the
calls: nothing, the thread (in gevent: the greenlet) of the request; `late`, the last one some time after the response; with gevent
`spawn`, a greenlet for each; `spawn_pool`, likewise, in turn, of a pool that all requests share; `spawn_within`, one that has another one
make the call; `spawn_late`, one that nobody waits for makes the last call; `worker`, one that a request starts and that ends when nobody
has anything for it to do, the latest first; `batch`, the same, but it tells those who wait when it has made the calls for all that were
there; `forever`, one that never ends. With threads, of a ThreadPoolExecutor: `jobs`, one for each call, at once; `jobs_map`, in turn, by map; `jobs_within`, one
that has another executor's make the call; `jobs_late`, one that nobody waits for makes the last call; `jobs_latest`, one for each call, that
makes the latest one which anybody waits for; `jobs_worker`, one that a request starts and that goes on until nobody has anything for it to
do, the latest first. TICK_MS: calls of no request, by the same executor."""
import concurrent.futures
import http.client
import os
import threading
import time
from urllib.parse import urlsplit

NEXT = [urlsplit(url).netloc for url in os.environ.get("NEXT", "").split(",") if url]
THINK = float(os.environ.get("THINK_MS", "0")) / 1000
TICK = float(os.environ.get("TICK_MS", "0")) / 1000
MODE = os.environ.get("MODE", "")
pool = threading.local()
jobs = []
jobs_lock = threading.Lock()
workers = []
shared = []
executor = concurrent.futures.ThreadPoolExecutor(16) if MODE.startswith("jobs") else None
inner = concurrent.futures.ThreadPoolExecutor(16) if MODE == "jobs_within" else None


def call(address, path):
    if not hasattr(pool, "connections"):
        pool.connections = {}
    connection = pool.connections.get(address)
    if connection is None:
        connection = pool.connections[address] = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", path)
        connection.getresponse().read()
    except Exception:
        del pool.connections[address]
        raise


def drain_jobs():
    while jobs or MODE == "forever":
        while not jobs:
            time.sleep(0.001)
        if MODE == "batch":
            batch = [jobs.pop() for _ in range(len(jobs))]
            for each, _ in batch:
                call(*each)
            for _, done in batch:
                done.set()
        else:
            each, done = jobs.pop()
            call(*each)
            done.set()
    workers.clear()


def by_worker(address, path):
    import gevent
    from gevent.event import Event

    done = Event()
    jobs.append(((address, path), done))
    if not workers:
        workers.append(gevent.spawn(drain_jobs))
    done.wait()


def by_greenlets(calls):
    import gevent
    import gevent.pool

    if MODE == "spawn_pool" and not shared:
        shared.append(gevent.pool.Pool(4))
    if MODE == "spawn_pool":
        for each in calls:
            shared[0].spawn(call, *each).get()
    elif MODE == "spawn_within":
        gevent.joinall([gevent.spawn(lambda each=each: gevent.spawn(call, *each).get()) for each in calls])
    else:
        late = calls.pop() if MODE == "spawn_late" else None
        gevent.joinall([gevent.spawn(call, *each) for each in calls])
        if late:
            gevent.spawn(call, *late)


def do_latest_job():
    each, done = jobs.pop()
    call(*each)
    done.set()


def by_latest_job(address, path):
    done = threading.Event()
    jobs.append(((address, path), done))
    future = executor.submit(do_latest_job)
    done.wait()
    future.result()


def do_all_jobs():
    while True:
        with jobs_lock:
            if not jobs:
                workers.clear()
                return
            each, done = jobs.pop()
        call(*each)
        done.set()


def by_job_worker(address, path):
    done = threading.Event()
    with jobs_lock:
        jobs.append(((address, path), done))
        is_first = not workers
        if is_first:
            workers.append(True)
    if is_first:
        executor.submit(do_all_jobs)
    done.wait()


def call_within(address, path):
    inner.submit(call, address, path).result()


def by_jobs(calls):
    if MODE == "jobs_map":
        for each in calls:
            list(executor.map(call, [each[0]], [each[1]]))
    elif MODE == "jobs_late":
        late = calls.pop()
        for future in [executor.submit(call, *each) for each in calls]:
            future.result()
        executor.submit(call, *late)
    elif MODE in ("jobs_latest", "jobs_worker"):
        for each in calls:
            (by_latest_job if MODE == "jobs_latest" else by_job_worker)(*each)
    else:
        one = call_within if MODE == "jobs_within" else call
        for future in [executor.submit(one, *each) for each in calls]:
            future.result()


def tick():
    while True:
        time.sleep(TICK)
        executor.submit(call, NEXT[0], "/c/tick").result()


if TICK:
    threading.Thread(target=tick, daemon=True).start()


class Late:
    """A body, after which a call is made."""

    def __init__(self, address, path):
        self.address, self.path = address, path

    def __iter__(self):
        yield b"ok"

    def close(self):
        time.sleep(0.002)
        call(self.address, self.path)


def app(environ, start_response):
    if THINK:
        time.sleep(THINK)
    calls = [(address, f"{environ['PATH_INFO']}.{index + 1}") for index, address in enumerate(NEXT)]
    last = calls.pop() if MODE == "late" else None
    if MODE.startswith("spawn"):
        by_greenlets(calls)
    elif executor:
        by_jobs(calls)
    else:
        for each in calls:
            (by_worker if MODE in ("worker", "batch", "forever") else call)(*each)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return Late(*last) if last else [b"ok"]

"""A link of a chain for gunicorn and waitress, see node.mjs: one keep-alive connection a thread and service. MODE, who makes the
calls: nothing, the thread (in gevent: the greenlet) of the request; `late`, the last one some time after the response; with gevent
`spawn`, a greenlet for each; `worker`, one that a request starts and that ends when nobody has anything for it to do, the
latest first."""
import http.client
import os
import threading
import time
from urllib.parse import urlsplit

NEXT = [urlsplit(url).netloc for url in os.environ.get("NEXT", "").split(",") if url]
THINK = float(os.environ.get("THINK_MS", "0")) / 1000
MODE = os.environ.get("MODE")
pool = threading.local()
jobs = []
workers = []


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
    while jobs:
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

    gevent.joinall([gevent.spawn(call, *each) for each in calls])


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
    if MODE == "spawn":
        by_greenlets(calls)
    else:
        for each in calls:
            (by_worker if MODE == "worker" else call)(*each)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return Late(*last) if last else [b"ok"]

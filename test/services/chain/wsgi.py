"""A link of a chain for gunicorn and waitress, see node.mjs: one keep-alive connection a thread and service. MODE=late: the last
call some time after the response."""
import http.client
import os
import threading
import time
from urllib.parse import urlsplit

NEXT = [urlsplit(url).netloc for url in os.environ.get("NEXT", "").split(",") if url]
THINK = float(os.environ.get("THINK_MS", "0")) / 1000
LATE = os.environ.get("MODE") == "late"
pool = threading.local()


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
    last = calls.pop() if LATE else None
    for each in calls:
        call(*each)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return Late(*last) if last else [b"ok"]

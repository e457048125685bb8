"""A link of a chain for gunicorn, see node.mjs: one keep-alive connection a thread and service."""
import http.client
import os
import threading
import time
from urllib.parse import urlsplit

NEXT = [urlsplit(url).netloc for url in os.environ.get("NEXT", "").split(",") if url]
THINK = float(os.environ.get("THINK_MS", "0")) / 1000
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


def app(environ, start_response):
    if THINK:
        time.sleep(THINK)
    for index, address in enumerate(NEXT):
        call(address, f"{environ['PATH_INFO']}.{index + 1}")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]

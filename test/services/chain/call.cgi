#!/usr/bin/env python3
"""A link of a chain as a CGI program of Apache's prefork server, see node.mjs: a process for each request."""
import http.client
import os
from urllib.parse import urlsplit

for index, url in enumerate(url for url in os.environ.get("NEXT", "").split(",") if url):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("GET", f"{os.environ['REQUEST_URI']}.{index + 1}")
    connection.getresponse().read()
    connection.close()
print("Content-Type: text/plain\nContent-Length: 2\n")
print("ok", end="")

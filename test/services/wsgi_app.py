# A WSGI application for gunicorn, which keeps the access log itself.
# Paths: /bytes/SIZE/N, /chunked/SIZE/N, /status/CODE/N, /upload/N, /sleep/MS/N.
import http
import time

FILLER = b"x" * 65536


def parts_of(size):
    while size > 0:
        part = min(size, len(FILLER))
        yield FILLER[:part]
        size -= part


def reason(code):
    try:
        return http.HTTPStatus(code).phrase
    except ValueError:
        return "Other"


def application(environ, start_response):
    fields = environ["PATH_INFO"].split("/")
    kind = fields[1]
    value = int(fields[2]) if len(fields) > 2 and fields[2].isdigit() else 0
    if kind == "bytes":
        start_response("200 OK", [("Content-Length", str(value))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else parts_of(value)
    if kind == "chunked":
        start_response("200 OK", [])
        return parts_of(value)
    if kind == "status":
        has_body = value not in (204, 304)
        start_response("%d %s" % (value, reason(value)), [("Content-Length", "4")] if has_body else [])
        return [b"%d\n" % value] if has_body and environ["REQUEST_METHOD"] != "HEAD" else []
    if kind == "sleep":
        time.sleep(value / 1000)
        start_response("200 OK", [("Content-Length", "6")])
        return [b"slept\n"]
    if kind == "upload":
        received = 0
        while True:
            part = environ["wsgi.input"].read(65536)
            if not part:
                break
            received += len(part)
        text = b"%d" % received
        start_response("200 OK", [("Content-Length", str(len(text)))])
        return [text] if environ["REQUEST_METHOD"] != "HEAD" else []
    start_response("404 Not Found", [("Content-Length", "0")])
    return []

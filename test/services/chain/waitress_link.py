"""wsgi.py behind waitress: one thread reads requests and puts them into a queue, others take them out."""
import os

import waitress
import wsgi

waitress.serve(wsgi.app, host="127.0.0.1", port=int(os.environ["PORT"]), threads=int(os.environ.get("THREADS", "8")))

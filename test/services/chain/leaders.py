"""A link of a chain whose threads take turns at waiting for all connections, see node.mjs: who is told of a request, lets the next one
wait and serves it himself (as in Jetty). THREADS: how many."""
import os
import select
import socket
import threading

from wsgi import NEXT, call

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=128)
poll = select.epoll()
poll.register(listener, select.EPOLLIN)
connections = {}
turn = threading.Lock()


def take():
    """Waits for a request, which has no body and comes in one piece."""
    with turn:
        while True:
            for descriptor, _ in poll.poll(maxevents=1):
                if descriptor == listener.fileno():
                    connection, _ = listener.accept()
                    connections[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN | select.EPOLLONESHOT)
                    continue
                connection = connections[descriptor]
                return connection, connection.recv(65536)


def serve():
    while True:
        connection, head = take()
        if not head:
            del connections[connection.fileno()]
            connection.close()
            continue
        path = head.split(b" ", 2)[1].decode()
        for index, address in enumerate(NEXT):
            call(address, f"{path}.{index + 1}")
        connection.sendall(RESPONSE)
        poll.modify(connection, select.EPOLLIN | select.EPOLLONESHOT)


for _ in range(int(os.environ.get("THREADS", "8"))):
    threading.Thread(target=serve).start()

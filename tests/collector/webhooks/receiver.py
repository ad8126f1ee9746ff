"""A receiver on loopback: it answers as it is told to, and remembers what it was sent."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """`answers` are (status, headers, text) of the next requests; then 204. `received`: (headers, body) of each.

    Nobody is answered while `answering` is not set.
    """

    def __init__(self) -> None:
        self.answers: deque[tuple[int, dict[str, str], str]] = deque()
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.answering = threading.Event()
        self.answering.set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextlib.contextmanager
def receiving():
    receiver = Receiver()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers, text = receiver.answers.popleft() if receiver.answers else (204, {}, "")
            receiver.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
            receiver.answering.wait(60)
            self.send_response(status)
            for key, value in ({"content-length": str(len(text))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

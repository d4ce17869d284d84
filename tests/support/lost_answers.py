"""A TCP proxy on loopback that, once armed, passes the next COMMIT on and loses its answer with the connection."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress

from support.proxy import Proxy

_COMMIT = b"COMMIT\0"
_BLOCK = 1 << 16


class LostAnswers(Proxy):
    """Passes connections on to a port of this machine; `arm` makes it lose the answer to one COMMIT."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._armed = threading.Event()
        self.lost = 0

    def arm(self) -> None:
        """From now on, until one COMMIT has passed."""
        self._armed.set()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, suppress(OSError, ValueError):
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(_BLOCK)
                    if not data:
                        return
                    (server if end is client else client).sendall(data)
                    if end is client and _COMMIT in data and self._armed.is_set():
                        self._armed.clear()
                        server.settimeout(10.0)
                        server.recv(_BLOCK)  # the server has answered, so it has committed
                        self.lost += 1
                        return

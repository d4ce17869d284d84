"""A TCP proxy on loopback that, once armed, passes the next COMMIT on and loses its answer with the connection."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from types import TracebackType

_COMMIT = b"COMMIT\0"
_BLOCK = 1 << 16


class LostAnswers:
    """Passes connections on to a port of this machine; `arm` makes it lose the answer to one COMMIT."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._armed = threading.Event()
        self._threads: list[threading.Thread] = []
        self.lost = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def arm(self) -> None:
        """From now on, until one COMMIT has passed."""
        self._armed.set()

    def __enter__(self) -> LostAnswers:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._start(self._pump, client, server)

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

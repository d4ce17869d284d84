"""A TCP proxy on loopback that counts what passes, and cuts every connection at a given byte."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType


class Proxy:
    """Passes connections on to a port of this machine.

    Once `cut_at` bytes have passed in all, both directions counted, every connection is reset in the middle of what is
    being sent, and new ones are refused, until `mend` is called; with `once` it mends itself.
    """

    def __init__(self, port: int, *, cut_at: int | None = None, once: bool = False) -> None:
        self._target = port
        self._cut_at = cut_at
        self._once = once
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.passed = 0
        self.connections = 0
        self.is_cut = False

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Proxy:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A listener that another thread waits on is woken by shutdown alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._reset()
        for thread in self._threads:
            thread.join(10)

    def mend(self) -> None:
        """Let everything pass from now on."""
        with self._lock:
            self._cut_at, self.is_cut = None, False

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
            if self.is_cut:
                _reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # it is down: so is the way to it
                _reset(client)
                continue
            self.connections += 1
            with self._lock:
                self._open |= {client, server}
            self._start(self._pump, client, server)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        with suppress(OSError, ValueError):
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(65536)
                    allowed = self._allowed(len(data))
                    other[end].sendall(data[:allowed])
                    if allowed < len(data) or self.is_cut:
                        self._reset()
                        if self._once:
                            self.mend()
                        return
                    if not data:
                        return
        self._close(client, server)

    def _allowed(self, size: int) -> int:
        """How many of these bytes may pass."""
        with self._lock:
            if self._cut_at is not None and self.passed + size >= self._cut_at:
                size, self.is_cut = max(0, self._cut_at - self.passed), True
            self.passed += size
            return size

    def _reset(self) -> None:
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _reset(end)

    def _close(self, *ends: socket.socket) -> None:
        with self._lock:
            self._open -= set(ends)
        for end in ends:
            end.close()


def _reset(end: socket.socket) -> None:
    """Close with RST, as a router that forgot the connection does."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()

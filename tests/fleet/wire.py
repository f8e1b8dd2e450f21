"""A wire to a server that can fail as a proxy does, and can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Wire:
    """Listens on a port of its own and passes on to another one.

    refuse: so many connections get `answer` in place of the server's. cut(): ends all that are
    open; new ones pass.
    """

    def __init__(
        self, port: int, *, refuse: int = 0, answer: str = "503 Service Unavailable"
    ) -> None:
        self.port = port
        self.refuse = refuse
        self.answer = answer
        self.refused = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Wire:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.refused < self.refuse:
                self.refused += 1
                self._refuse(near)
                continue
            far = socket.create_connection(("127.0.0.1", self.port))
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _refuse(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            near.recv(65536)
            near.sendall(
                f"HTTP/1.1 {self.answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := one.recv(65536):
                other.sendall(content)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

"""`fleet run`: one or a few servers from one process, without a broker. A thread per server."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from .comfy import Comfy
from .errors import FleetError, GiveBackError, ServerAwayError
from .folder import Plan
from .plan import Job
from .work import Patience, Worker, worker_name

log = logging.getLogger("fleet")
ASK_EVERY = 2.0  # seconds between two looks whether a server is back


class Embedded:
    """The chunks of a run and the threads that do them."""

    def __init__(
        self,
        plan: Plan,
        cut: list[list[Job]],
        stop: threading.Event,
        patience: Patience,
        done: Callable[[Job], None],
    ) -> None:
        self.plan = plan
        self.stop = stop
        self.patience = patience
        self.done = done
        self.problems: list[str] = []
        self._attempts = plan.attempts()
        self._left = deque(cut)
        self._busy = 0
        self._away: set[str] = set()
        self._lock = threading.Condition()

    def run(self, urls: list[str]) -> None:
        """Do all chunks on these servers; what could not be done is told by `problems`."""
        threads = [
            threading.Thread(target=self._serve, args=(url, number, len(urls)), daemon=True)
            for number, url in enumerate(urls)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # so that Ctrl+C is heard
                thread.join(0.2)

    def _serve(self, url: str, number: int, servers: int) -> None:
        name = worker_name(number)
        try:
            comfy = Comfy(url, name)
        except FleetError as error:
            self.problems.append(str(error))
            return
        worker = Worker(
            *(comfy, self.plan.outputs, name),
            stop=self.stop,
            patience=self.patience,
            done=self.done,
        )
        try:
            while (chunk := self._take()) is not None:
                if not self._do(worker, chunk) and not self._wait_for(comfy, servers):
                    return
        finally:
            comfy.close()

    def _do(self, worker: Worker, chunk: list[Job]) -> bool:
        """Do a chunk, or give its rest back; tell whether the server can take another one."""
        back, good = [], True
        try:
            identities = self.plan.identities(job.identity for job in chunk)
            worker.do_chunk(chunk, identities, self._attempts)
        except GiveBackError as error:
            back, good = chunk, not error.away
            if error.away:
                log.warning("%s", error)
        except (FleetError, OSError) as error:
            back, good = chunk, False
            self.problems.append(str(error))
            self._away.add(worker.comfy.url)
        with self._lock:
            self._busy -= 1
            if back:
                self._left.append(back)
            self._lock.notify_all()
        return good

    def _take(self) -> list[Job] | None:
        """Return the next chunk, None when all is done or nothing shall begin.

        Waits while another thread may still give something back.
        """
        with self._lock:
            while not self.stop.is_set():
                if self._left:
                    self._busy += 1
                    return self._left.popleft()
                if not self._busy:
                    return None
                self._lock.wait(0.5)
        return None

    def _wait_for(self, comfy: Comfy, servers: int) -> bool:
        """Wait until a server answers again; False when no server does, or it needs a person."""
        if comfy.url in self._away:
            return False
        self._away.add(comfy.url)
        while not self.stop.wait(ASK_EVERY):
            try:
                comfy.versions()
                self._away.discard(comfy.url)
                return True
            except ServerAwayError as error:
                with self._lock:
                    if len(self._away) == servers or not (self._left or self._busy):
                        self.problems.append(str(error))
                        return False
            except FleetError as error:
                self.problems.append(str(error))
                return False
        return False

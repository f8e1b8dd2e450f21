"""One worker with one server: a chunk of jobs in, pictures and dead letters out."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol, TypeVar

from . import FLEET_VERSION
from .comfy import Comfy, State
from .errors import FailedError, FleetError, GiveBackError, ServerAwayError
from .folder import Outputs
from .graph import Graph
from .plan import IDENTITY_FOLDER, UPLOADS, Job
from .retries import RULES, failure_of, pause

PROMPT_IDS = uuid.UUID("6a1b9c0e-52f4-5d7e-9d4e-0f6f1c1a7b11")  # the fleet's own name space
PICTURE_LIMIT = 1800.0  # seconds that one picture may take
CHUNK_SECONDS = 300.0  # after which no further picture of a chunk is begun

log = logging.getLogger("fleet")
Made = TypeVar("Made")


def prompt_id_of(name: str, attempt: int) -> str:
    """Return the prompt_id of a job's attempt: the same wherever it is asked, a canonical UUID."""
    return str(uuid.uuid5(PROMPT_IDS, f"{name} {attempt}"))


def worker_name(number: int = 0) -> str:
    host = "".join(c if c.isalnum() or c == "-" else "-" for c in socket.gethostname())
    return f"{host}-{os.getpid()}-{number}"


@dataclass(frozen=True)
class Patience:
    """Seconds: for a server that does not answer, for one picture, for a chunk."""

    away: float = 120.0
    picture: float = PICTURE_LIMIT
    chunk: float = CHUNK_SECONDS


class Driver:
    """Brings one prompt after the other to its end on one server, as retries.RULES say.

    stop: set when no further prompt shall begin. beat: called every few seconds of waiting.
    """

    def __init__(
        self,
        comfy: Comfy,
        stop: threading.Event,
        patience: Patience,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.comfy = comfy
        self.stop = stop
        self.patience = patience
        self.beat = beat
        self.lost_contact = True  # what was uploaded may be gone
        self._posted = ""  # the last prompt_id that the server has taken from us

    def run(
        self,
        name: str,
        attempt: int,
        prepare: Callable[[], Graph],
        collect: Callable[[State], Made],
    ) -> tuple[Made, int, State]:
        """Return what `collect` makes of a prompt that ended well, the attempt, and its state.

        prepare: called before each try, returns the prompt. Raises FailedError when it is not to
        be tried again, with the attempt it ended at; GiveBackError when the server stays away or
        no further try shall begin.
        """
        failures: Counter[str] = Counter()
        away_since: float | None = None
        while True:
            try:
                state = self._once(prepare(), prompt_id_of(name, attempt))
                return collect(state), attempt, state
            except ServerAwayError as error:
                self.comfy.disconnect()
                self.lost_contact = True
                failures["away"] += 1
                away_since = away_since or time.monotonic()
                self._wait(pause(failures["away"]), str(error), away_since)
            except FailedError as error:
                away_since = None
                failures["away"] = 0
                failures[error.kind] += 1
                rule = RULES[error.kind]
                if rule.retries is not None and failures[error.kind] > rule.retries:
                    error.attempt = attempt
                    raise
                log.warning("%s: %s; %s", name[:12], error.message, rule.then)
                attempt += rule.new_attempt
                if error.kind in ("memory", "gone"):
                    self._free()
                self._wait(pause(failures[error.kind]), error.message)

    def _free(self) -> None:
        with contextlib.suppress(ServerAwayError):  # the next try meets it
            self.comfy.free()

    def _wait(self, seconds: float, why: str, away_since: float | None = None) -> None:
        """Wait before another try; GiveBackError if there shall be none."""
        if away_since is not None and time.monotonic() - away_since > self.patience.away:
            raise GiveBackError(why, away=True)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.stop.wait(min(left, 1.0)):
                raise GiveBackError("stopped", away=away_since is not None)
            self.beat()

    def _once(self, prompt: Graph, prompt_id: str) -> State:
        """Ask before posting, then wait for the end; FailedError for any but a good one."""
        self.comfy.connect()
        state = self.comfy.ask(prompt_id)
        if state is None:
            if self._posted == prompt_id:
                raise self._lost()
            self.comfy.post(prompt, prompt_id)
            self._posted = prompt_id
        if state is None or not state.ended:
            state = self._follow(prompt_id)
        if state.status == "completed":
            return state
        if state.status == "failed":
            raise failure_of(state.error)
        raise FailedError("stopped", "it was cancelled on the server")

    def _lost(self) -> FailedError:
        self._posted = ""
        self.lost_contact = True
        return FailedError("lost", "the server does not know the prompt any more")

    def _follow(self, prompt_id: str) -> State:
        began = time.monotonic()

        def still() -> None:
            self.beat()
            if time.monotonic() - began > self.patience.picture:
                self.comfy.cancel(prompt_id)
                raise FailedError("slow", f"no end after {self.patience.picture:.0f} s")

        state = self.comfy.follow(prompt_id, ours=self._posted == prompt_id, still=still)
        if state is None:
            raise self._lost()
        return state


class Records(Protocol):
    """Where else it is written what became of a job; the broker, for workers far away."""

    def is_settled(self, job: str) -> bool: ...

    def settled(self, job: str, how: str, record: dict[str, Any]) -> None: ...


class Worker:
    """A worker. name: its own among all. done: called after every job that is done or buried."""

    def __init__(
        self,
        comfy: Comfy,
        outputs: Outputs,
        name: str,
        *,
        stop: threading.Event,
        patience: Patience,
        records: Records | None = None,
        done: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self.comfy = comfy
        self.outputs = outputs
        self.name = name
        self.stop = stop
        self.patience = patience
        self.records = records
        self.done = done
        self.driver = Driver(comfy, stop, patience, lambda: outputs.touch(name))
        self._uploaded: set[str] = set()
        self._versions: dict[str, str] = {}

    def do_chunk(
        self, jobs: list[Job], identities: dict[str, bytes], attempts: dict[str, int]
    ) -> None:
        """Do the jobs that are not settled; GiveBackError when some are left for somebody else."""
        began = time.monotonic()
        try:
            for job in jobs:
                if self._is_settled(job.id):
                    continue
                if self.stop.is_set():
                    raise GiveBackError("stopped", away=False)
                if time.monotonic() - began > self.patience.chunk:
                    raise GiveBackError("the chunk takes long", away=False)
                self._do(job, identities[job.identity], attempts.get(job.id, 0))
                self.done(job)
        finally:
            self.outputs.forget(self.name)

    def _is_settled(self, job: str) -> bool:
        return self.outputs.is_settled(job) or (
            self.records is not None and self.records.is_settled(job)
        )

    def _do(self, job: Job, identity: bytes, attempt: int) -> None:
        began = time.time()
        note = {"job": job.id, "person": job.person, "server": self.comfy.url}
        self.outputs.note(self.name, {**note, "since": stamp(began)})

        def prepare() -> Graph:
            self._bring(job.identity, identity)
            return job.prompt

        try:
            pictures, attempt, state = self.driver.run(
                job.id, attempt, prepare, lambda state: self._fetch(job, state)
            )
        except FailedError as error:
            self._bury(job, error.kind, error.message, error.attempt)
        except (FleetError, GiveBackError):
            raise
        except Exception as error:
            log.exception("%s failed in the fleet itself", job.id[:12])
            self._bury(job, "unexpected", f"{type(error).__name__}: {error}", attempt)
        else:
            self._keep(job, pictures, attempt, state, began)

    def _bring(self, key: str, content: bytes) -> None:
        """Upload an identity, unless this server has it from us since we last lost contact."""
        if self.driver.lost_contact:
            self._uploaded.clear()
            self._versions = {"fleet": FLEET_VERSION, **self.comfy.versions()}
            self.driver.lost_contact = False
        if key not in self._uploaded:
            self.comfy.upload(f"{IDENTITY_FOLDER}/{UPLOADS}", f"{key}.safetensors", content)
            self._uploaded.add(key)

    def _fetch(self, job: Job, state: State) -> list[tuple[str, bytes]]:
        files = state.outputs.get(job.picture, {}).get("images", [])
        if not files:
            raise FailedError("empty", f"node {job.picture} gave no picture")
        return [(PurePosixPath(f["filename"]).suffix, self.comfy.fetch(f)) for f in files]

    def _keep(
        self,
        job: Job,
        pictures: list[tuple[str, bytes]],
        attempt: int,
        state: State,
        began: float,
    ) -> None:
        now = time.time()
        sidecar = {
            "job": job.id,
            "person": job.person,
            "identity": job.identity,
            "seed": job.seed,
            "attempt": attempt,
            "prompt_id": prompt_id_of(job.id, attempt),
            "server": self.comfy.url,
            "worker": self.name,
            "began": stamp(began),
            "done": stamp(now),
            "time": now,
            "seconds": round(now - began, 3),
            "server_seconds": state.seconds,
            "versions": self._versions,
        }
        self.outputs.keep(job.id, pictures, sidecar)
        if self.records is not None:
            self.records.settled(job.id, "done", sidecar)

    def _bury(self, job: Job, kind: str, reason: str, attempt: int) -> None:
        log.warning("%s goes to the dead letters: %s", job.id[:12], reason)
        letter = {
            "person": job.person,
            "kind": kind,
            "reason": reason,
            "attempt": attempt,
            "server": self.comfy.url,
            "worker": self.name,
            "time": stamp(time.time()),
        }
        self.outputs.bury(job.id, letter)
        if self.records is not None:
            self.records.settled(job.id, "dead", letter)


def stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))

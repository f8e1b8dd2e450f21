"""Many servers: chunks travel through Redis, and Dramatiq hands a dead worker's to another one.

A message carries all that its chunk needs, the identity files included. RUN folder and sidecars
stay the truth; Redis holds the queue, and for workers without the RUN folder what became of jobs.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from .comfy import Comfy
from .errors import FleetError, GiveBackError, ServerAwayError
from .folder import Outputs, Plan, read_plan
from .plan import Job
from .work import Patience, Worker

log = logging.getLogger("fleet")
NAMESPACE = "fleet"
QUEUE = "chunks"
ACTOR = "fleet_chunk"
HEARTBEAT = 15.0  # seconds without a sign after which a worker's chunk goes to another one
MAINTENANCE = 100_000  # in a million commands; Dramatiq looks for dead workers in these alone
KEPT = 30 * 24 * 3600  # seconds for which Redis remembers what became of a job
ASK_EVERY = 5.0  # seconds between two looks whether the server is back

Payload = dict[str, Any]


def connect(url: str, heartbeat: float = HEARTBEAT) -> RedisBroker:
    """Return the broker at redis:// or rediss://; FleetError if it does not let us in."""
    try:
        broker = RedisBroker(
            url=url,
            namespace=NAMESPACE,
            heartbeat_timeout=int(heartbeat * 1000),
            maintenance_chance=MAINTENANCE,
        )
        broker.client.ping()
    except (redis.RedisError, ValueError) as error:
        raise FleetError(
            f"The broker does not answer ({_without(url, str(error))}). Give --broker, or the "
            "variable FLEET_BROKER, as redis://[:password@]host:port/number; rediss:// is the same "
            "over TLS."
        ) from None
    broker.declare_queue(QUEUE)
    return broker


def _without(url: str, text: str) -> str:
    """Take a URL, which may hold a password, out of a text."""
    return text.replace(url, "the URL")


class RedisRecords:
    """What became of the jobs of a run, in Redis. A Redis that is away is no reason to stop."""

    def __init__(self, client: Any, run: str) -> None:
        self.client = client
        self.run = run

    def is_settled(self, job: str) -> bool:
        try:
            return any(self.client.hexists(self._key(how), job) for how in ("done", "dead"))
        except redis.RedisError:
            return False

    def settled(self, job: str, how: str, record: dict[str, Any]) -> None:
        try:
            self.client.hset(self._key(how), job, json.dumps(record))
            self.client.expire(self._key(how), KEPT)
        except redis.RedisError as error:
            log.warning("Redis was not told that %s is %s: %s", job[:12], how, error)

    def all(self, how: str) -> dict[str, dict[str, Any]]:
        found = self.client.hgetall(self._key(how))
        return {job.decode(): json.loads(record) for job, record in found.items()}

    def revive(self, jobs: list[str]) -> None:
        """Forget that these jobs are dead."""
        if jobs:
            self.client.hdel(self._key("dead"), *jobs)

    def _key(self, how: str) -> str:
        return f"{NAMESPACE}-run:{self.run}:{how}"


def queued(broker: RedisBroker) -> int:
    """Return how many chunks wait in the queue, those of other runs included."""
    return int(broker.client.llen(f"{NAMESPACE}:{QUEUE}"))


def submit(plan: Plan, broker: RedisBroker, chunk: list[Job]) -> None:
    """Put a chunk into the queue."""
    identities = plan.identities(job.identity for job in chunk)
    attempts = plan.attempts()
    send(
        broker,
        {
            "run": plan.run,
            "out": str(plan.folder.resolve()),
            "jobs": [asdict(job) for job in chunk],
            "identities": {key: base64.b64encode(v).decode() for key, v in identities.items()},
            "attempts": {job.id: attempts[job.id] for job in chunk if job.id in attempts},
        },
    )


def send(broker: RedisBroker, payload: Payload) -> None:
    message = dramatiq.Message(
        queue_name=QUEUE, actor_name=ACTOR, args=(payload,), kwargs={}, options={}
    )
    broker.enqueue(message)


class Duty:
    """What a worker process does: takes chunks, one at a time, for one server.

    out: where pictures go instead of the RUN folder, a folder per run. problem: why it ended.
    """

    def __init__(
        self,
        broker: RedisBroker,
        comfy: Comfy,
        name: str,
        stop: threading.Event,
        patience: Patience,
        *,
        out: Path | None = None,
        done: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self.broker = broker
        self.comfy = comfy
        self.name = name
        self.stop = stop
        self.patience = patience
        self.out = out
        self.done = done
        self.problem = ""
        self._away = threading.Event()
        self._worker: Worker | None = None

    def serve(self) -> None:
        """Work until `stop` is set or something needs a person."""
        limit = 3 * (self.patience.chunk + self.patience.picture + self.patience.away)
        dramatiq.actor(
            self.take,
            broker=self.broker,
            queue_name=QUEUE,
            actor_name=ACTOR,
            time_limit=int(limit * 1000),
            max_retries=None,
            max_backoff=60_000,
        )
        self._wait_for_server()
        consumer = dramatiq.Worker(self.broker, queues={QUEUE}, worker_threads=1)
        consumer.queue_prefetch = 1  # what one holds and does not do, another one could
        consumer.start()
        while not self.stop.wait(1.0):
            if self._away.is_set():
                consumer.pause()
                self._wait_for_server()
                consumer.resume()
        consumer.stop(timeout=int(limit * 1000))
        self.broker.close()

    def take(self, payload: Payload) -> None:
        """Do a chunk; what cannot be done here goes back into the queue before this one is gone."""
        if self.stop.is_set() or self._away.is_set():
            self._give_back(payload)
            self.stop.wait(1.0)
            return
        try:
            jobs = [Job(**job) for job in payload["jobs"]]
            identities = {k: base64.b64decode(v) for k, v in payload["identities"].items()}
            self._worker_for(payload).do_chunk(jobs, identities, payload["attempts"])
        except GiveBackError as error:
            if error.away:
                log.warning("%s", error)
                self._away.set()
            self._give_back(payload)
        except FleetError as error:
            self.problem = str(error)
            self.stop.set()
            self._give_back(payload)

    def _worker_for(self, payload: Payload) -> Worker:
        """Return the worker, which keeps what it knows of the server from one run to the next."""
        folder = Path(payload["out"]) if self.out is None else self.out / payload["run"]
        if self._worker is None or self._worker.outputs.folder != folder:
            if self.out is None and read_plan(folder).run != payload["run"]:
                raise FleetError(
                    f"{folder} holds another run on this machine. Name a folder for the pictures "
                    "with --out."
                )
            outputs = Outputs(folder)
            outputs.prepare()
            self._worker = Worker(
                *(self.comfy, outputs, self.name),
                stop=self.stop,
                patience=self.patience,
                records=RedisRecords(self.broker.client, payload["run"]),
                done=self.done,
            )
        return self._worker

    def _give_back(self, payload: Payload) -> None:
        """Put a chunk back, however long the broker takes: until then this worker still has it."""
        while True:
            try:
                send(self.broker, payload)
                return
            except redis.RedisError:
                time.sleep(1.0)

    def _wait_for_server(self) -> None:
        while not self.stop.is_set():
            try:
                self.comfy.versions()
                self._away.clear()
                return
            except ServerAwayError as error:
                log.warning("%s", error)
                self.stop.wait(ASK_EVERY)
            except FleetError as error:
                self.problem = str(error)
                self.stop.set()

"""The RUN folder: what is planned, and what is done, dead or running. Files alone, no state.

A picture is done when its sidecar is there. Everything is written under another name, in `tmp`,
and renamed: what has its name is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import FleetError
from .graph import Graph
from .plan import FORMAT, JOBS, PLAN, VERSION, Job

ATTEMPTS = "attempts.json"
OLD_PART = 3600.0  # seconds after which a file that is not whole belongs to nobody
FRESH = 60.0  # seconds for which a note of what is running counts


class Outputs:
    """The part of a RUN folder that workers write: pictures, dead letters, what is running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures = folder / "pictures"
        self.dead = folder / "dead"
        self.running = folder / "running"
        self.parts = folder / "tmp"

    def prepare(self) -> None:
        """Make the folders, and take away what killed workers left unfinished an hour ago."""
        for folder in (self.pictures, self.dead, self.running, self.parts):
            folder.mkdir(parents=True, exist_ok=True)
        for part in self.parts.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > OLD_PART:
                    part.unlink()

    def is_done(self, job: str) -> bool:
        return (self.pictures / f"{job}.json").exists()

    def is_settled(self, job: str) -> bool:
        """Tell whether a job needs nothing more: it is done, or among the dead."""
        return self.is_done(job) or (self.dead / f"{job}.json").exists()

    def done(self) -> set[str]:
        return {path.stem for path in self.pictures.glob("*.json")}

    def keep(self, job: str, pictures: list[tuple[str, bytes]], sidecar: dict[str, Any]) -> None:
        """Write the pictures of a job, (name's ending, bytes), and last the sidecar."""
        names = []
        for number, (ending, content) in enumerate(pictures):
            name = f"{job}{ending}" if number == 0 else f"{job}-{number + 1}{ending}"
            self.write(self.pictures / name, content)
            names.append(name)
        self.write_json(self.pictures / f"{job}.json", {**sidecar, "files": names})

    def bury(self, job: str, letter: dict[str, Any]) -> None:
        """Put a job among the dead, unless it is done."""
        if not self.is_done(job):
            self.write_json(self.dead / f"{job}.json", {"job": job, **letter})

    def note(self, worker: str, what: dict[str, Any]) -> None:
        """Say what a worker is doing; the file's time says that it still is."""
        self.write_json(self.running / f"{worker}.json", what, safe=False)

    def touch(self, worker: str) -> None:
        with contextlib.suppress(OSError):
            os.utime(self.running / f"{worker}.json")

    def forget(self, worker: str) -> None:
        (self.running / f"{worker}.json").unlink(missing_ok=True)

    def letters(self) -> dict[str, dict[str, Any]]:
        """Return the dead letters by job."""
        return {path.stem: read_json(path) for path in sorted(self.dead.glob("*.json"))}

    def notes(self) -> dict[str, dict[str, Any]]:
        """Return what workers say they are doing, by worker; notes older than a minute are not."""
        found = {}
        for path in sorted(self.running.glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                if time.time() - path.stat().st_mtime < FRESH:
                    found[path.stem] = read_json(path)
        return found

    def write_json(self, place: Path, content: Any, *, safe: bool = True) -> None:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        self.write(place, text.encode(), safe=safe)

    def write(self, place: Path, content: bytes, *, safe: bool = True) -> None:
        """Write a file whole or not at all. safe: it is on the disk itself before it has its name.

        FleetError if the folder cannot be written: no job can help that.
        """
        part = self.parts / f"{uuid.uuid4().hex}.part"
        try:
            with part.open("xb") as file:
                file.write(content)
                if safe:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(place)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise FleetError(f"{place} cannot be written: {error.strerror}") from error


@dataclass(frozen=True)
class Plan:
    """A plan that was read. run: its name among all runs. photos: key to path of what is encoded.
    encode: the graph for that. folder: where it lies."""

    folder: Path
    run: str
    photos: dict[str, str]
    encode: Graph | None
    jobs: list[Job]

    @property
    def outputs(self) -> Outputs:
        return Outputs(self.folder)

    def identity_path(self, key: str) -> Path:
        return self.folder / "identities" / f"{key}.safetensors"

    def refusal_path(self, key: str) -> Path:
        """Where it says why no identity could be made of a photo."""
        return self.folder / "identities" / f"{key}.json"

    def identities(self, keys: Iterable[str]) -> dict[str, bytes]:
        return {key: self.identity_path(key).read_bytes() for key in sorted(set(keys))}

    def attempts(self) -> dict[str, int]:
        """Return the attempt that jobs begin with, where it is not 0: `retry` raises it."""
        path = self.folder / ATTEMPTS
        return read_json(path) if path.exists() else {}

    def open_jobs(self) -> list[Job]:
        """Return the jobs that are neither done nor dead."""
        settled = self.outputs.done().union(self.outputs.letters())
        return [job for job in self.jobs if job.id not in settled]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_plan(folder: Path) -> Plan:
    """Return the plan of a RUN folder; FleetError if there is none."""
    try:
        plan = read_json(folder / PLAN)
        if (plan["format"], plan["version"]) != (FORMAT, VERSION):
            raise ValueError(f"it is version {plan['version']} of {plan['format']}")
        with (folder / JOBS).open(encoding="utf-8") as file:
            jobs = [Job(**json.loads(line)) for line in file]
        return Plan(folder, plan["run"], plan["photos"], plan["encode"], jobs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FleetError(
            f"{folder} holds no plan of this fleet ({error}). Make one with "
            "`python3 -m fleet plan JOBS --graph GRAPH --out RUN`."
        ) from error


def ready_jobs(plan: Plan) -> list[Job]:
    """Return the open jobs that have an identity; those whose photo was refused are buried.

    FleetError if a photo is still to be encoded.
    """
    plan.outputs.prepare()
    ready, missing = [], set()
    for job in plan.open_jobs():
        if plan.identity_path(job.identity).exists():
            ready.append(job)
        elif plan.refusal_path(job.identity).exists():
            reason = read_json(plan.refusal_path(job.identity))["reason"]
            letter = {"person": job.person, "kind": "face", "reason": reason, "attempt": 0}
            plan.outputs.bury(job.id, letter)
        else:
            missing.add(job.identity)
    if missing:
        raise FleetError(
            f"{len(missing)} photos are not encoded yet. Run `python3 -m fleet encode "
            f"{plan.folder} --server URL` first, on a server with antelopev2."
        )
    return ready


def retry(plan: Plan, only: Iterable[str] = ()) -> list[str]:
    """Take dead jobs out of the dead, at the next attempt; return their ids.

    only: beginnings of job ids; all the dead if there are none.
    """
    outputs, attempts = plan.outputs, plan.attempts()
    wanted = tuple(only)
    outputs.prepare()
    chosen = [
        (job, letter)
        for job, letter in outputs.letters().items()
        if not wanted or job.startswith(wanted)
    ]
    for job, letter in chosen:
        attempts[job] = max(attempts.get(job, 0), letter["attempt"]) + 1
    outputs.write_json(plan.folder / ATTEMPTS, attempts)
    for job, _ in chosen:
        (outputs.dead / f"{job}.json").unlink(missing_ok=True)
    return [job for job, _ in chosen]

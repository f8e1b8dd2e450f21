"""Make the pictures of a plan on a server; what is there already is not made again."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from ..comfy_server import PromptFailedError, Server
from .errors import QualityError
from .plan import Case
from .servers import upload

LONGEST = 3600.0  # seconds that one picture may take
IN_A_ROW = 3  # failures, and people they are of, after which going on makes no sense
Watch = Callable[[Sequence[Case]], Iterator[Case]]


@dataclass(frozen=True)
class Made:
    """What is known of a picture that is there."""

    path: Path
    seconds: float


class Store:
    """The pictures of a folder, each with a small file beside it that says what it was made from.

    A picture is there or not: both files are written under another name and then renamed, the
    picture last.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def made(self, case: Case) -> Made | None:
        """Return a case's picture; None where there is none. Raises QualityError for another."""
        path = self.folder / case.place
        if not path.is_file():
            return None
        try:
            note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            key, seconds = note["key"], float(note["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            key, seconds = None, 0.0
        if key != case.key():
            raise QualityError(
                f"{path} is there, but was made with other values (photo, prompt, graph, size, "
                "steps, files). Name another folder with --output, or remove that one."
            )
        return Made(path, seconds)

    def missing(self, cases: Sequence[Case]) -> list[Case]:
        return [case for case in cases if self.made(case) is None]

    def keep(self, case: Case, picture: bytes, seconds: float) -> None:
        path = self.folder / case.place
        path.parent.mkdir(parents=True, exist_ok=True)
        note = {"key": case.key(), "seconds": round(seconds, 3), "seed": case.seed}
        _write(path.with_suffix(".json"), json.dumps(note).encode())
        _write(path, picture)


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)


@dataclass(frozen=True)
class Failure:
    """A picture that the server could not make, and what it said."""

    case: Case
    message: str

    def __str__(self) -> str:
        case = self.case
        return f"{case.setting.name}, {case.person.name}, {case.prompt.name}: {self.message}"


def make_pictures(
    server: Server, store: Store, cases: Sequence[Case], watch: Watch
) -> list[Failure]:
    """Make the cases that are missing and return what failed.

    watch: is given them and gives them out one by one, as a progress bar does. Raises QualityError
    once IN_A_ROW pictures in a row failed, of as many people or of all there are.
    """
    failures: list[Failure] = []
    uploaded: set[str] = set()
    enough = min(IN_A_ROW, len({case.person.name for case in cases}))
    row: list[str] = []
    for case in watch(store.missing(cases)):
        try:
            with _gone(server):
                _upload(server, case, uploaded)
                picture, seconds = _make(server, case)
            store.keep(case, picture, seconds)
            row.clear()
        except PromptFailedError as error:
            failures.append(Failure(case, error.message))
            row.append(case.person.name)
        if len(row) >= IN_A_ROW and len(set(row)) >= enough:
            raise QualityError(
                f"{len(row)} pictures in a row could not be made; what is there is kept. "
                f"The last: {failures[-1]}"
            )
    return failures


def _make(server: Server, case: Case) -> tuple[bytes, float]:
    """Return the picture's bytes and the seconds from queueing to its end."""
    began = time.monotonic()
    result = server.run(case.nodes(), seconds=LONGEST)
    seconds = time.monotonic() - began
    images = result.images(case.setting.places.picture)
    if not images:
        raise PromptFailedError("the graph ran to its end and saved no picture")
    return server.fetch(images[0]), seconds


@contextlib.contextmanager
def _gone(server: Server) -> Iterator[None]:
    """Say in a sentence that the server stopped answering."""
    from websocket import WebSocketException

    try:
        yield
    except (OSError, HTTPException, WebSocketException) as error:
        raise QualityError(
            f"ComfyUI at {server.url} no longer answers ({error}). What is there is kept: start it "
            "and run this again to go on."
        ) from error


def _upload(server: Server, case: Case, uploaded: set[str]) -> None:
    """Give the server the photo of a case, unless it goes without or was given already."""
    photo = case.setting.places.photo
    if photo is None:
        return
    name = case.nodes()[photo]["inputs"]["image"]
    if name not in uploaded:
        upload(server, name, case.person.reference.read_bytes())
        uploaded.add(name)

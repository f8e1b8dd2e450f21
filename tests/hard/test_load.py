"""Many prompts, several clients: nothing is lost or mixed up, and nothing grows."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from faithful_instantid.devtools.comfy_server import (
    Server,
    default_comfyui,
    serve,
    standin_models,
)
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from PIL import Image

from .conftest import LONG, Tally
from .driving import digest, outcome, portrait

PEOPLE = 6
SIZES = (64, 96, 128)
PROMPTS = 500 if LONG else 30
CLIENTS = 8 if LONG else 3
MIB = 1 << 20
# What the server may hold more at the end than after its warm-up.
MEMORY, THREADS, FILES = 96 * MIB, 4, 4


@dataclass(frozen=True)
class Wish:
    """One prompt: whose portrait, how large, with which seed."""

    person: int
    size: int
    seed: int

    def run(self, server: Server) -> str:
        made = outcome(server, portrait(self.seed, self.size, f"person{self.person}.png"))
        return digest(server, made)


@pytest.fixture(scope="module")
def classic() -> Iterator[Server]:
    """A server that remembers the last prompt only, so that every other one is really run."""
    models = standin_models(default_comfyui(), sys.executable)
    with serve(models, arguments=["--cache-classic"]) as server:
        for person in range(PEOPLE):
            save_person(server, person)
        yield server


def save_person(server: Server, person: int) -> None:
    face = DrawnFace(128 + 4 * person, 128, 150, 3 * person - 8, person)
    picture: np.ndarray = draw_faces([face], 256, 256)
    Image.fromarray(picture).save(server.base / "input" / f"person{person}.png")


def held(server: Server) -> tuple[int, int, int]:
    """Return the server's resident bytes, its threads and its open files."""
    process = Path("/proc") / str(server.process.pid)
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    files = len(list((process / "fd").iterdir()))
    return int(status["RssAnon"].split()[0]) * 1024, int(status["Threads"]), files


@pytest.mark.timeout(7200 if LONG else 300)
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads /proc, which is Linux's")
def test_every_result_belongs_to_its_prompt_and_nothing_grows(
    classic: Server, tally: Tally
) -> None:
    wishes = [Wish(n % PEOPLE, SIZES[n % len(SIZES)], n // 4) for n in range(PEOPLE + 4)]
    alone = {wish: wish.run(classic) for wish in wishes}
    assert len(set(alone.values())) == len(wishes), "some prompts cannot be told apart"
    dice = random.Random(9)
    drawn = [dice.choice(wishes) for _ in range(PROMPTS)]
    clients = [replace(classic, client=f"client{n}") for n in range(CLIENTS)]
    before = held(classic)
    with ThreadPoolExecutor(CLIENTS) as pool:
        jobs = [pool.submit(wish.run, clients[n % CLIENTS]) for n, wish in enumerate(drawn)]
        found = [job.result() for job in jobs]
    after = held(classic)
    tally("prompts run under load", len(wishes) + len(found))
    mixed_up = [wish for wish, got in zip(drawn, found, strict=True) if got != alone[wish]]
    tally("prompts under load that were lost or mixed up", len(mixed_up))
    assert not mixed_up
    assert len(found) == PROMPTS
    grown = [late - early for early, late in zip(before, after, strict=True)]
    tally("MiB that the server's memory grew under load", max(0, grown[0] // MIB))
    assert grown[0] <= MEMORY
    assert grown[1] <= THREADS
    assert grown[2] <= FILES


WISHES = (Wish(0, 64, 3), Wish(3, 96, 4))


@pytest.mark.parametrize("arguments", [("--cache-lru", "20"), ("--cache-none",)])
def test_the_same_prompt_gives_the_same_bits_with_every_cache_and_in_any_order(
    classic: Server, tally: Tally, arguments: tuple[str, ...]
) -> None:
    wanted = [wish.run(classic) for wish in WISHES]
    models = standin_models(default_comfyui(), sys.executable)
    with serve(models, arguments=arguments) as server:
        for person in (0, 3):
            save_person(server, person)
        backwards = [wish.run(server) for wish in reversed(WISHES)]
        again = [wish.run(server) for wish in WISHES]
    tally("prompts run again with another cache", 4)
    assert backwards[::-1] == wanted
    assert again == wanted

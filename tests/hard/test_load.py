"""Many prompts, several clients: nothing is lost or mixed up, and nothing grows."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from faithful_instantid.devtools.comfy_server import (
    Prompt,
    Server,
    default_comfyui,
    serve,
    standin_models,
)
from faithful_instantid.devtools.full_size import limits, report
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.identity_file import save_identity
from faithful_instantid.nodes.folders import IDENTITIES
from PIL import Image

from ..server.conftest import node_id
from .conftest import LONG, Tally
from .driving import digest, outcome, portrait
from .test_api_input import node

PEOPLE = 6
SIZES = (64, 96, 128)
PROMPTS = 500 if LONG else 36
CLIENTS = 8 if LONG else 3
STEPS = 500 if LONG else 24
EARLY, LATE = range(3, 6), range(STEPS - 3, STEPS)
MIB = 1 << 20


@dataclass(frozen=True)
class Wish:
    """One prompt: who is to be on the picture and in which way, how large, with which seed.

    people: numbers of persons. kind: "one", the first alone; "list", all of them as a list of
    people in this order; "chain", the first on the model and the second on that; "mix", one person
    between the first two; "saved", the first from an identity file.
    """

    people: tuple[int, ...]
    size: int
    seed: int
    kind: str = "one"

    def run(self, server: Server) -> str:
        prompt = portrait(self.seed, self.size, photo(self.people[0]))
        WAYS[self.kind](prompt, self.people)
        return digest(server, outcome(server, prompt))


def photo(person: int) -> str:
    return f"person{person}.png"


def encoded(prompt: Prompt, person: int) -> list[Any]:
    """Add a photo of a person and what encodes it; return the link to the identity."""
    first = next(n for n in prompt.values() if n["class_type"] == "IID_EncodeFace")["inputs"]
    prompt[f"photo{person}"] = node("LoadImage", image=photo(person))
    prompt[f"face{person}"] = node("IID_EncodeFace", **{**first, "image": [f"photo{person}", 0]})
    return [f"face{person}", 0]


def as_list(prompt: Prompt, people: tuple[int, ...]) -> None:
    """Give the prompt a list of people, side by side; each face has a place of its own."""
    links = [encoded(prompt, person) for person in people]
    before: dict[str, Any] = {}
    for number, link in enumerate(links):
        x = (number + 0.5) / len(links)
        place = {"width": 256, "height": 256, "x": x, "y": 0.5, "size": 0.5}
        prompt[f"place{number}"] = node("IID_PlaceKeypoints", **place)
        prompt[f"person{number}"] = node(
            "IID_Person",
            face_embeds=link,
            keypoints=[f"place{number}", 0],
            **{"order": "left_to_right", "index": 0, "shape": "box", "padding": 0, "feather": 0},
            **{"weight": 1, "strength": 1},
            **before,
        )
        before = {"people": [f"person{number}", 0]}
    prompt[node_id(prompt, "IID_Apply")]["inputs"]["face_embeds"] = before["people"]


def as_chain(prompt: Prompt, people: tuple[int, ...]) -> None:
    """Put the second person's adapter onto the model that carries the first."""
    sampler = prompt[node_id(prompt, "KSampler")]["inputs"]
    prompt["second"] = node(
        "IID_ApplyAdapter",
        model=sampler["model"],
        face_embeds=encoded(prompt, people[1]),
        **{"weight": 0.5, "start_percent": 0, "end_percent": 1},
    )
    sampler["model"] = ["second", 0]


def as_mix(prompt: Prompt, people: tuple[int, ...]) -> None:
    apply = prompt[node_id(prompt, "IID_Apply")]["inputs"]
    adapter = prompt[node_id(prompt, "IID_EncodeFace")]["inputs"]["adapter"]
    prompt["mix"] = node(
        "IID_MixIdentities",
        adapter=adapter,
        first=apply["face_embeds"],
        second=encoded(prompt, people[1]),
        **{"amount": 0.5, "combine": "mean"},
    )
    apply["face_embeds"] = ["mix", 0]


def as_saved(prompt: Prompt, people: tuple[int, ...]) -> None:
    encode = node_id(prompt, "IID_EncodeFace")
    adapter = prompt[encode]["inputs"]["adapter"]
    file = f"person{people[0]}.safetensors"
    prompt[encode] = node("IID_LoadIdentity", adapter=adapter, file=file)


WAYS: dict[str, Callable[[Prompt, tuple[int, ...]], None]] = {
    "one": lambda prompt, people: None,
    "list": as_list,
    "chain": as_chain,
    "mix": as_mix,
    "saved": as_saved,
}
# Of one size and seed, so that nothing but the people tells one from another.
ALIKE = [
    *(Wish((person,), 64, 1) for person in range(PEOPLE)),
    *(Wish(pair, 64, 1, "list") for pair in ((0, 1), (1, 0), (0, 2), (2, 1), (4, 5))),
    *(Wish(pair, 64, 1, "chain") for pair in ((0, 1), (1, 0), (0, 3))),
    *(Wish(pair, 64, 1, "mix") for pair in ((0, 1), (0, 2))),
    *(Wish((person,), 64, 1, "saved") for person in (0, 5)),
    Wish((0, 1, 2), 64, 1, "list"),
]
OTHERS = [
    *(Wish((n % PEOPLE,), SIZES[n % len(SIZES)], 2 + n) for n in range(4)),
    Wish((0, 1), 96, 3, "list"),
    Wish((3, 2), 128, 4, "list"),
]


@pytest.fixture(scope="module")
def classic(adapter: Any) -> Iterator[Server]:
    """A server that remembers the last prompt only, so that every other one is really run."""
    models = standin_models(default_comfyui(), sys.executable)
    with serve(models, arguments=["--cache-classic"]) as server:
        save_people(server, adapter)
        yield server


def save_people(server: Server, adapter: Any) -> None:
    """Save a photo of each person, and an identity file of another face for each."""
    folder = server.base / "output" / IDENTITIES
    folder.mkdir(exist_ok=True)
    for person in range(PEOPLE):
        face = DrawnFace(128 + 4 * person, 128, 150, 3 * person - 8, person)
        picture: np.ndarray = draw_faces([face], 256, 256)
        Image.fromarray(picture).save(server.base / "input" / photo(person))
        embedding = torch.randn(512, generator=torch.manual_seed(person))
        identity = host.encode_identity(adapter, embedding)
        save_identity(folder / f"person{person}.safetensors", identity)


@dataclass(frozen=True)
class Held:
    """What a server holds: bytes of its own, threads, open files, the pack's objects and bytes,
    and the bytes of all tensors."""

    memory: int
    threads: int
    files: int
    objects: int
    bytes_of_the_pack: int
    tensors: int


# How much more the server may hold at the end than after its warm-up. What one prompt leaves
# behind, be it one patch or one identity, is beyond these after thirty of them.
ALLOWED = Held(96 * MIB, threads=4, files=4, objects=25, bytes_of_the_pack=MIB, tensors=8 * MIB)


def held(server: Server) -> Held:
    """Return what a server holds after a prompt that is always the same."""
    ALIKE[0].run(server)
    return look(server)


def look(server: Server) -> Held:
    """Return what a server holds now."""
    process = limits.process(server.process.pid)
    found = server.get(report.MEMORY_ROUTE)
    return Held(
        memory=limits.process_memory(process.pid)["own"],
        threads=process.num_threads(),
        files=process.num_fds(),
        objects=found["objects"],
        bytes_of_the_pack=sum(found["pack"].values()),
        tensors=found["tensors"],
    )


def grown(before: Held, after: Held) -> list[str]:
    """Return what has grown by more than is allowed."""
    pairs = ((f.name, getattr(before, f.name), getattr(after, f.name)) for f in fields(Held))
    return [f"{name}: {a} to {b}" for name, a, b in pairs if b - a > getattr(ALLOWED, name)]


@pytest.mark.timeout(7200 if LONG else 600)
@pytest.mark.skipif(os.name == "nt", reason="counts open files as POSIX has them")
def test_every_result_belongs_to_its_people_and_nothing_grows(
    classic: Server, tally: Tally
) -> None:
    wishes = [*ALIKE, *OTHERS]
    alone = {wish: wish.run(classic) for wish in wishes}
    assert len(set(alone.values())) == len(wishes), "some prompts cannot be told apart"
    dice = random.Random(9)
    drawn = [*wishes, *(dice.choice(wishes) for _ in range(PROMPTS - len(wishes)))]
    dice.shuffle(drawn)
    clients = [replace(classic, client=f"client{n}") for n in range(CLIENTS)]
    before = held(classic)
    with ThreadPoolExecutor(CLIENTS) as pool:
        jobs = [pool.submit(wish.run, clients[n % CLIENTS]) for n, wish in enumerate(drawn)]
        found = [job.result() for job in jobs]
    after = held(classic)
    tally("prompts run under load", len(found))
    tally("prompts under load with several identities", sum(len(w.people) > 1 for w in drawn))
    mixed_up = [wish for wish, got in zip(drawn, found, strict=True) if got != alone[wish]]
    tally("prompts under load that were lost or mixed up", len(mixed_up))
    assert not mixed_up
    assert len(found) == PROMPTS
    tally(
        "MiB that the server's memory grew under load", max(0, after.memory - before.memory) // MIB
    )
    assert grown(before, after) == []


@pytest.mark.skipif(os.name == "nt", reason="counts open files as POSIX has them")
def test_nothing_grows_from_step_to_step(classic: Server, tally: Tally) -> None:
    prompt = portrait(seed=1)
    prompt[node_id(prompt, "KSampler")]["inputs"]["steps"] = STEPS
    looks: dict[int, Held] = {}

    def progress(kind: str, step: int, steps: int) -> None:
        if step in (*EARLY, *LATE):
            looks[step] = look(classic)

    classic.run(prompt, progress, 1200)
    tally("steps of one sampling with a look at what is held", STEPS)
    early, late = (lowest([looks[step] for step in steps]) for steps in (EARLY, LATE))
    assert grown(early, late) == []


def lowest(looks: list[Held]) -> Held:
    """Return the least of each figure: a look may fall into the middle of a call."""
    return Held(*(min(getattr(one, f.name) for one in looks) for f in fields(Held)))


WISHES = (Wish((0,), 64, 3), Wish((3, 1), 96, 4, "list"))


@pytest.mark.parametrize("arguments", [("--cache-lru", "20"), ("--cache-none",)])
def test_the_same_prompt_gives_the_same_bits_with_every_cache_and_in_any_order(
    classic: Server, adapter: Any, tally: Tally, arguments: tuple[str, ...]
) -> None:
    wanted = [wish.run(classic) for wish in WISHES]
    models = standin_models(default_comfyui(), sys.executable)
    with serve(models, arguments=arguments) as server:
        save_people(server, adapter)
        backwards = [wish.run(server) for wish in reversed(WISHES)]
        again = [wish.run(server) for wish in WISHES]
    tally("prompts run again with another cache", 4)
    assert backwards[::-1] == wanted
    assert again == wanted

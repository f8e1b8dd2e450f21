"""What a moved weight slider costs: the graph queued again in ComfyUI's own executor, in process.

The graph is the basic workflow from the loaders to one UNet call, with this pack's nodes. Between
runs only `weight` changes. The baseline is one node that does all of it, as packs used to be.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from ...instantid_core.embeddings import MEAN
from ...instantid_core.faces import FaceAnalyzer
from ...instantid_core.faces.references import ON_MISSING
from ...instantid_core.host import apply_adapter, apply_identitynet, encode_identity
from ...instantid_core.keypoints import Keypoints
from ...nodes.apply import Apply
from ...nodes.faces import EncodeFace
from ...nodes.keypoints import FaceKeypoints
from ...nodes.loaders import LoadAdapter, LoadFaceAnalyzer
from . import face_models as f
from . import models as m
from .around import ADAPTER, Setup, need
from .timing import Clock, MeaninglessError, Timings, paired

Graph = dict[str, dict[str, Any]]

MODELS, PREDICT, ALL_IN_ONE = "Bench_Models", "Bench_Predict", "Bench_AllInOne"
SPARED = {"IID_Apply", PREDICT}  # what runs again after the slider has moved
FIRST, AGAIN, NAIVE = "first run", "weight moved", "weight moved, one node that does it all"
NODES = (LoadAdapter, LoadFaceAnalyzer, EncodeFace, FaceKeypoints, Apply)  # of this pack
SLIDER = 0.01  # one step of the weight's slider
CACHES = {"lru": 0, "ram": 0.0, "ram_inactive": 0.0}  # what ComfyUI's main.py hands over
# What loaders and prompts give, and the first three of it go through Apply: names and types.
GIVEN = {
    **{"model": "MODEL", "positive": "CONDITIONING", "negative": "CONDITIONING"},
    **{"control_net": "CONTROL_NET", "image": "IMAGE"},
}
APPLIED = dict(itertools.islice(GIVEN.items(), 3))


def rerun(setup: Setup) -> dict[str, Timings]:
    """Everything anew, the weight alone, and the weight in one node; to a call and through it."""
    need(*f.NEEDED)
    adapter, faces = setup.adapter_file(), f.make_models(setup)
    until = Timings({name: [] for name in (FIRST, AGAIN, NAIVE)})
    with registered(setup, adapter.parent, faces) as runner:
        for variant in (FIRST, NAIVE):  # imports, and what the naive node's loaders give
            runner.run(variant)

        def timed(name: str) -> float:
            before, whole = runner.run(name)
            until.seconds[name].append(before)
            return whole

        through = paired({name: partial(timed, name) for name in until.seconds}, setup.rounds)
    size = f"{setup.pixels}x{setup.pixels}"
    return {"until the sampling": until, f"with one UNet call at {size}": through}


class Runner:
    """Queues the graph in an executor that keeps what ComfyUI keeps."""

    def __init__(self, setup: Setup) -> None:
        execution = importlib.import_module("execution")
        server = SimpleNamespace(client_id=None, last_node_id=None, send_sync=self._hear)
        keeps: dict[str, Any] = {"cache_type": execution.CacheType.CLASSIC, "cache_args": CACHES}
        self._executor, self._naive = (execution.PromptExecutor(server, **keeps) for _ in range(2))
        self._ran: list[str] = []
        self._clock = Clock(setup.device)
        self._weights = (0.8 - SLIDER * (i % 40) for i in itertools.count())
        self.begun: list[float] = []  # when the last node began
        self.results: list[Tensor] = []  # predictions

    def _hear(self, event: str, data: dict[str, Any], client: str | None = None) -> None:
        if event == "executing":
            self._ran.append(data["node"])

    def run(self, variant: str) -> tuple[float, float]:
        """Run a variant with a weight of its own; return seconds until the sampling, and all.

        Errors: MeaninglessError if the weight changed nothing, or more ran than it concerns.
        """
        weight = next(self._weights)
        executor = self._naive if variant == NAIVE else self._executor
        if variant == FIRST:
            executor.reset()
        graph = all_in_one(weight) if variant == NAIVE else by_nodes(weight)
        self._ran.clear()
        begun = time.perf_counter()
        whole = self._clock.time(
            lambda: executor.execute(graph, "bench", {"client_id": "bench"}, ["predict"])
        )
        if not executor.success:
            _, failure = executor.status_messages[-1]
            raise MeaninglessError(f"{failure['node_type']}: {failure['exception_message']}")
        *before, last = self.results
        self.results[:] = [last]
        if before and torch.equal(before[-1], last):
            raise MeaninglessError(f"'{variant}': another weight gave the same prediction.")
        ran = {graph[node]["class_type"] for node in self._ran}
        if variant == AGAIN and ran != SPARED:
            raise MeaninglessError(f"After the weight alone, these ran: {sorted(ran)}.")
        return self.begun[-1] - begun, whole


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def links(source: str, names: dict[str, str]) -> dict[str, Any]:
    """Return an input for each name, from a node's outputs in their order."""
    return {name: [source, index] for index, name in enumerate(names)}


def framed(**steps: dict[str, Any]) -> Graph:
    """Return a graph of these steps, of which `apply` is the last, between loaders and a call."""
    return {
        "models": node(MODELS),
        "adapter": node("IID_LoadAdapter", file=ADAPTER.name),
        "faces": node("IID_LoadFaceAnalyzer", pack=f.PACK, provider="CPU"),
        **steps,
        "predict": node(PREDICT, **links("apply", APPLIED)),
    }


def by_nodes(weight: float) -> Graph:
    """The basic workflow: each step in a node of its own."""
    given = links("models", GIVEN)
    look = {"face_analyzer": ["faces", 0], "image": given.pop("image"), "pick": "largest"}
    look |= {"index": 0, "on_missing": ON_MISSING[0]}
    given |= {"face_embeds": ["face", 0], "keypoints": ["keypoints", 0], "weight": weight}
    given |= {"strength": 0.8, "start_percent": 0.0, "end_percent": 1.0}
    return framed(
        face=node("IID_EncodeFace", adapter=["adapter", 0], combine=MEAN, **look),
        keypoints=node("IID_FaceKeypoints", **look),
        apply=node("IID_Apply", **given, fit="crop", face_region=False),
    )


def all_in_one(weight: float) -> Graph:
    """The same with one node that finds, encodes and applies."""
    given = {**links("models", GIVEN), "adapter": ["adapter", 0], "analyzer": ["faces", 0]}
    return framed(apply=node(ALL_IN_ONE, **given, weight=weight))


def own_nodes(setup: Setup, begun: list[float], results: list[Tensor]) -> dict[str, type]:
    """Return the benchmark's nodes by id; the last one notes when it began, and its prediction."""

    def give() -> tuple[Any, ...]:
        """Give out what loaders and prompts give: models that are there, and a photo."""
        made = setup.models()
        photo = torch.from_numpy(f.photo()[..., ::-1] / 255.0).float()[None]  # (1,H,W,3) RGB
        return made.model, made.positive, made.negative, made.control_net, photo

    def predict(model: Any, positive: Any, negative: Any) -> dict[str, Any]:
        """Call the UNet once for both sides, at the end of the graph."""
        begun.append(time.perf_counter())
        x = m.noise(setup.pixels, 1)
        results.append(m.calls(model, positive, negative, x, 0, Clock(setup.device))[1])
        return {}

    more = {"adapter": "INSTANTID", "analyzer": "FACEANALYSIS", "weight": "FLOAT"}
    return {
        MODELS: as_node(give, {}, tuple(GIVEN.values())),
        PREDICT: as_node(predict, APPLIED),
        ALL_IN_ONE: as_node(apply_all_in_one, {**GIVEN, **more}, tuple(APPLIED.values())),
    }


def as_node(run: Callable[..., Any], inputs: dict[str, str], outputs: Sequence[str] = ()) -> type:
    """Make a ComfyUI node of a function; one without outputs ends a graph."""
    required = {"required": {name: (kind,) for name, kind in inputs.items()}}
    members: dict[str, Any] = {"INPUT_TYPES": classmethod(lambda cls: required), "FUNCTION": "run"}
    members |= {"RETURN_TYPES": outputs, "OUTPUT_NODE": not outputs, "run": staticmethod(run)}
    return type(run.__name__, (), members)


def apply_all_in_one(
    image: Tensor, adapter: Any, analyzer: Any, weight: float, model: Any, **conds: Any
) -> tuple[Any, ...]:
    """The baseline: find, embed, encode and apply whenever anything changes."""
    picture = (image[0].numpy()[..., ::-1] * 255.0).round().astype("uint8")
    forgetful = FaceAnalyzer(analyzer.models["detection"], analyzer.models["recognition"])
    (face,) = forgetful.find(picture).faces
    embedding = torch.from_numpy(forgetful.embed(picture, face))
    identity = encode_identity(adapter, embedding, torch.zeros_like(embedding))
    hint = Keypoints(picture.shape[1], picture.shape[0], ((face.points,),))
    sides = apply_identitynet(**conds, identity=identity, hint=hint)
    return apply_adapter(model, identity, weight=weight), *sides


@contextlib.contextmanager
def registered(setup: Setup, adapters: Path, faces: Path) -> Iterator[Runner]:
    """Let ComfyUI know the nodes and the folders of the model files, until the end."""
    known = importlib.import_module("nodes").NODE_CLASS_MAPPINGS
    paths = importlib.import_module("folder_paths")
    runner = Runner(setup)
    folders = {
        "instantid": ([str(adapters)], {".bin"}),
        "insightface": ([str(faces)], {".onnx"}),
    }
    nodes = own_nodes(setup, runner.begun, runner.results)
    with mock.patch.dict(paths.folder_names_and_paths, folders), mock.patch.dict(known, nodes):
        known.update({kind.GET_SCHEMA().node_id: kind for kind in NODES})  # they look for files
        try:
            yield runner
        finally:
            paths.filename_list_cache.clear()  # it names folders that may be gone


CASES = {"rerun": rerun}

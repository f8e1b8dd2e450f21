"""The old node ids: what this pack makes of a workflow, against what the old pack itself makes."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import make_standins
from comfy_server import Server, ServerError, standin_models
from safetensors.numpy import load_file

from neighbours import photos
from neighbours.checks import Numbers, Verdict, difference
from neighbours.combination import KSAMPLER, Scene, Step, step
from neighbours.graphs import Workflow
from neighbours.servers import Pack, serve_beside

ADAPTER = "ip-adapter-real-width.bin"  # the old pack knows one width of Resampler only
LEVEL = 1.0 / 255.0
START = (
    step("CheckpointLoaderSimple", "model clip vae", ckpt_name="sd_xl_base_1.0.safetensors"),
    step("CLIPTextEncode", "positive", text="film noir portrait"),
    step("CLIPTextEncode", "negative", text="blurry"),
    step("EmptyLatentImage", "latent"),
    step("LoadImage", "image", image="@photo"),
    step("InstantIDModelLoader", "instantid", instantid_file=ADAPTER),
    step("InstantIDFaceAnalysis", "insightface", provider="CPU"),
    step("ControlNetLoader", "control_net", control_net_name="instantid-identitynet.safetensors"),
)
END = (*KSAMPLER, step("VAEDecode", "image", samples="@result"), step("Beside_Keep", what="@image"))
WAYS: dict[str, tuple[Step, ...]] = {
    "ApplyInstantID": (step("ApplyInstantID", "model positive negative"),),
    "ApplyInstantIDAdvanced, noise 0.3": (
        step("ApplyInstantIDAdvanced", "model positive negative", noise=0.3),
    ),
    "InstantIDAttentionPatch, FaceKeypointsPreprocessor, ApplyInstantIDControlNet": (
        step("InstantIDAttentionPatch", "model face_embeds"),
        step("FaceKeypointsPreprocessor", "image_kps", faceanalysis="@insightface"),
        step("ApplyInstantIDControlNet", "positive negative"),
    ),
}


@contextmanager
def models_for_the_old_pack(comfyui: Path) -> Iterator[Path]:
    """Make a folder of the stand-ins with one adapter more, of the old pack's width."""
    import torch

    make_standins.checkout()
    devtools = f"{make_standins.PACKAGE}.devtools"
    state_dict = importlib.import_module(f"{devtools}.tiny_adapter").state_dict
    fill = importlib.import_module(f"{devtools}.standins.weights").fill
    with tempfile.TemporaryDirectory(prefix="instantid-beside-models-") as folder:
        models = Path(folder)
        for path in standin_models(comfyui, sys.executable).iterdir():
            if path.name != "instantid":
                (models / path.name).symlink_to(path)
        (models / "instantid").mkdir()
        torch.save(state_dict(fill), models / "instantid" / ADAPTER)
        yield models


def compare(comfyui: Path, pack: Pack, models: Path) -> Iterator[tuple[str, list[Verdict]]]:
    """Yield each way to apply the old nodes and how far its pictures are from the old pack's."""
    sides: list[dict[tuple[str, str], Numbers | str]] = []
    for packs in ((), (pack,)):
        with serve_beside(comfyui, packs, ours=not packs, models=models) as server:
            sides.append(dict(pictures(server)))
    ours, theirs = sides
    for way in WAYS:
        names = [name for known, name in ours if known == way]
        yield (
            f"{way}: {len(names)} photos, {names[0][:-4]} to {names[-1][:-4]}",
            [verdict(names, [(ours[way, name], theirs[way, name]) for name in names])],
        )


def pictures(server: Server) -> Iterator[tuple[tuple[str, str], Numbers | str]]:
    """Yield what each way makes of each photo: numbers, or the message of what failed."""
    nodes = server.get("/object_info")
    for name in list(photos.save_all(server.base / "input")):
        for way, steps in WAYS.items():
            try:
                server.run(prompt_of(nodes, steps, name))
                kept = load_file(server.base / "output" / "kept.safetensors")["kept"]
            except ServerError as error:
                kept = str(error)[:120]
            yield (way, name), kept


def prompt_of(nodes: dict[str, Any], way: Sequence[Step], photo: str) -> dict[str, Any]:
    scene, workflow = Scene(), Workflow(nodes)
    workflow.given.update(width=scene.width, height=scene.height, steps=2, cfg=5.0, seed=1)
    workflow.given["photo"] = photo
    for added in (*START, *way, *END):
        workflow.add(added)
    return workflow.prompt


def verdict(names: Sequence[str], pairs: Sequence[tuple[Any, Any]]) -> Verdict:
    """Judge the pictures of one way, each within one level of 255, where photos are told apart."""
    off: dict[str, float] = {}
    for name, (ours, theirs) in zip(names, pairs, strict=True):
        for side, made in (("here", ours), ("there", theirs)):
            if isinstance(made, str):
                return Verdict("like", False, f"{name} fails {side}: {made}")
        off[name] = difference(ours, theirs) / LEVEL
    worst = max(off, key=lambda name: off[name])
    apart = min(difference(pairs[0][0], ours) for ours, _ in pairs[1:]) / LEVEL
    said = f"at most {off[worst]:.2g} levels of 255; another photo changes {apart:.0f} or more"
    return Verdict("like", off[worst] <= 1.0 < apart / 4, said)

"""Pictures of drawn people from the real chain: ComfyUI's own nodes and this pack's, in process.

Used by the tests of meaning and by the tables of docs/proof.md. ComfyUI must be importable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_extras import nodes_custom_sampler as custom
from torch import Tensor

import nodes as stock

from ...instantid_core.keypoints import FacePoints, Keypoints, draw_keypoints
from ...nodes.apply import ApplyAdapter, ApplyIdentityNet
from ...nodes.faces import EncodeFace
from ...nodes.folders import add_folder
from ...nodes.loaders import LoadAdapter, LoadFaceAnalyzer
from ...nodes.people import AddPerson
from .. import make_standins
from ..standins import sdxl
from .world import SIZE, Picture, Pose, Scene

FOLDERS = ("checkpoints", "controlnet", "instantid", "insightface")
STEPS, CFG, SAMPLER, SCHEDULER = 6, 1.5, "euler", "simple"
STRENGTH = 1.0  # of adapter and IdentityNet: what they were trained at


@dataclass(frozen=True)
class Order:
    """One picture to make.

    identity: FACE_EMBEDS, IID_PEOPLE or None for a picture without InstantID. adapter, control:
    further inputs of Apply InstantID Adapter and Apply IdentityNet; None leaves that node out.
    beside: a pose for the same network as an ordinary ControlNet of ComfyUI, after those. scales:
    of the identity and of the text, by ComfyUI's Dual CFG Guider; None is one scale for both.
    """

    scene: Scene
    identity: Any = None
    poses: Sequence[Pose] = ()
    seed: int = 0
    people: int = 1
    adapter: Mapping[str, Any] | None = field(default_factory=dict)
    control: Mapping[str, Any] | None = field(default_factory=dict)
    beside: Pose | None = None
    batch: int = 1
    steps: int = STEPS
    scales: tuple[float, float] | None = None

    def but(self, **changes: Any) -> Order:
        return replace(self, **changes)


class Studio:
    """The loaded models and what is needed to make and judge a picture."""

    def __init__(self, models: Path) -> None:
        sdxl.register()
        for name in FOLDERS:
            if name in ("instantid", "insightface"):
                add_folder(name, {".bin", ".safetensors", ".onnx"})
            folder_paths.add_model_folder_path(name, str(models / name), is_default=True)
        checkpoint, identitynet, adapter = (
            Path(file).name
            for file in (make_standins.CHECKPOINT, make_standins.IDENTITYNET, make_standins.ADAPTER)
        )
        self.model, self.clip, self.vae = stock.CheckpointLoaderSimple().load_checkpoint(checkpoint)
        self.control_net = stock.ControlNetLoader().load_controlnet(identitynet)[0]
        self.adapter = LoadAdapter.execute(adapter)[0]
        self.analyzer = LoadFaceAnalyzer.execute("antelopev2", "CPU")[0]
        self._texts: dict[str, Any] = {}

    def text(self, prompt: str) -> Any:
        if prompt not in self._texts:
            self._texts[prompt] = stock.CLIPTextEncode().encode(self.clip, prompt)[0]
        return self._texts[prompt]

    def identity(self, *pictures: Picture, **inputs: Any) -> Any:
        """Return FACE_EMBEDS of one person's pictures, from Encode Face."""
        given = {"pick": "largest", "index": 0, "combine": "mean", "on_missing": "error", **inputs}
        return EncodeFace.execute(self.analyzer, self.adapter, image_of(*pictures), **given)[0]

    def people(self, *persons: Mapping[str, Any]) -> Any:
        """Return IID_PEOPLE of each one's inputs of Person, `face_embeds` among them."""
        people = None
        for person in persons:
            given = {
                **{"order": "left_to_right", "index": -1, "shape": "box"},
                **{"padding": 0.0, "feather": 0.0, "weight": 1.0, "strength": 1.0},
                **person,
            }
            people = AddPerson.execute(people=people, **given)[0]
        return people

    def conditions(self, order: Order) -> tuple[Any, ...]:
        """Return MODEL, positive, negative and, for two scales, the middle, with InstantID."""
        model = self.model
        positive, negative = self.text(order.scene.prompt(order.people)), self.text("")
        if order.identity is not None and order.adapter is not None:
            given = {"weight": STRENGTH, "start_percent": 0.0, "end_percent": 1.0, **order.adapter}
            model = ApplyAdapter.execute(model, order.identity, **given)[0]
        if order.identity is not None and order.control is not None:
            given = {
                **{"strength": STRENGTH, "start_percent": 0.0, "end_percent": 1.0, "fit": "crop"},
                **({"keypoints": keypoints_of(*order.poses)} if order.poses else {}),
                **order.control,
            }
            net = self.control_net
            if order.scales is not None:
                given["middle"] = self.text("")
            out = ApplyIdentityNet.execute(positive, negative, net, order.identity, **given)
            if order.scales is not None:
                return model, out[0], out[1], out[2]
            positive, negative = out[0], out[1]
        if order.beside is not None:
            drawn = image_of(draw_keypoints(order.beside.kps[None], SIZE, SIZE))
            positive, negative = stock.ControlNetApplyAdvanced().apply_controlnet(
                *(positive, negative, self.control_net, drawn, STRENGTH, 0.0, 1.0)
            )
        return model, positive, negative

    def sample(self, order: Order, conditions: tuple[Any, ...]) -> Picture:
        """Return (batch,SIZE,SIZE,3) uint8 from KSampler and VAE Decode."""
        if order.scales is not None:
            return self.sample_in_two_scales(order, *conditions)
        model, positive, negative = conditions
        latent = stock.EmptyLatentImage().generate(SIZE, SIZE, order.batch)[0]
        done = stock.KSampler().sample(
            *(model, order.seed, order.steps, CFG, SAMPLER, SCHEDULER),
            *(positive, negative, latent),
        )[0]
        return bytes_of(stock.VAEDecode().decode(self.vae, done)[0])

    def sample_in_two_scales(
        self, order: Order, model: Any, positive: Any, negative: Any, middle: Any
    ) -> Picture:
        """Return the same from SamplerCustomAdvanced with the Dual CFG Guider."""
        assert order.scales is not None
        identity, text = order.scales
        sampler = custom.KSamplerSelect.execute(SAMPLER)[0]
        sigmas = custom.BasicScheduler.execute(model, SCHEDULER, order.steps, 1.0)[0]
        noise = custom.RandomNoise.execute(order.seed)[0]
        given = (positive, middle, negative, text, identity, "regular")
        guider = custom.DualCFGGuider.execute(model, *given)[0]
        latent = stock.EmptyLatentImage().generate(SIZE, SIZE, order.batch)[0]
        done = custom.SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent)[0]
        return bytes_of(stock.VAEDecode().decode(self.vae, done)[0])

    def make(self, order: Order) -> Picture:
        """Return one picture, (SIZE,SIZE,3) uint8."""
        with torch.inference_mode():
            return self.sample(order, self.conditions(order))[0]

    def faces(self, picture: Picture) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return keypoints (5,2) and embedding (512,) of every face found, from left to right."""
        bgr = np.ascontiguousarray(picture[..., ::-1])
        found = self.analyzer.find(bgr, threshold=0.3).faces
        ordered = sorted(found, key=lambda face: face.center[0])
        return [(face.points.kps, self.analyzer.embed(bgr, face)) for face in ordered]


def image_of(*pictures: Picture) -> Tensor:
    """Pictures (H,W,3) uint8 -> an IMAGE."""
    return torch.from_numpy(np.stack(pictures)).float() / 255


def bytes_of(image: Tensor) -> Picture:
    """An IMAGE -> (B,H,W,3) uint8."""
    return (image.clamp(0, 1) * 255).round().byte().cpu().numpy()


def keypoints_of(*poses: Pose) -> Keypoints:
    """Return FACE_KEYPOINTS of poses in one picture."""
    faces = tuple(FacePoints(pose.kps, pose.box) for pose in poses)
    return Keypoints(SIZE, SIZE, (faces,))

"""Measure what the trained chain does and write the tables and pictures of docs/proof.md.

    <environment's python> devtools/drawn/proof.py COMFYUI MODELS OUTPUT [table ...]

MODELS: a folder that `make_standins.py ... drawn` made. OUTPUT gets a table in Markdown and a
picture for each name. Without names all tables are made; it takes about a quarter of an hour on
two quiet cores.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DEVTOOLS = Path(__file__).resolve().parent.parent
EVERYBODY, SOME = 20, 8  # people in a row of a table


class Proof:
    """One studio, and a table by each method's name: lists of (words, figures)."""

    def __init__(self, load: Callable[[str], Any], models: Path, output: Path) -> None:
        self.m, self.judging, self.world = (
            load(f"devtools.drawn.{name}") for name in ("measures", "judging", "world")
        )
        self.load, self.output = load, output
        self.studio = load("devtools.drawn.studio").Studio(models)
        self.who = self.m.everybody(self.studio)
        self.pictures: list[list[Any]] = []

    def figures(self, shots: Sequence[Any], poses: Sequence[Any]) -> dict[str, float]:
        """Count what docs/proof.md tells of pictures and keep those for the sheet."""
        m, judging = self.m, self.judging
        self.pictures.append([shot.picture for shot in shots[:8]])
        errors = [m.off_by(shot, p) for shot, p in zip(shots, poses, strict=True)]
        scenes = [shot.order.scene for shot in shots]
        return {
            "pictures": len(shots),
            "right": sum(m.is_right(shot, self.who) for shot in shots),
            "likeness": sum(m.own_likeness(shot, self.who) for shot in shots) / len(shots),
            "background": sum(
                judging.background(shot.picture) == s.background
                for shot, s in zip(shots, scenes, strict=True)
            ),
            "clothes": sum(
                judging.clothes(shot.picture, p) == s.clothes
                for shot, s, p in zip(shots, scenes, poses, strict=True)
            ),
            "colours off": sum(
                judging.colours_off(shot.picture, p, s.background, s.clothes)
                for shot, s, p in zip(shots, scenes, poses, strict=True)
            )
            / len(shots),
            "within 4 px": sum(error <= 4 for error in errors),
            "median px": sorted(errors)[len(errors) // 2],
        }

    def row(self, count: int, **changes: Any) -> dict[str, float]:
        """Return the figures of `count` people's cases with these changes of the order."""
        orders = [self.m.order_of(self.who, n, **changes) for n in range(count)]
        shots = [self.m.shoot(self.studio, order, n) for n, order in enumerate(orders)]
        return self.figures(shots, [order.poses for order in orders])

    def true(self) -> list[tuple[str, dict[str, float]]]:
        """The drawn pictures themselves, and what the VAE leaves of them."""
        studio = self.load("devtools.drawn.studio")
        rows = []
        for words in ("drawn", "after the VAE"):
            shots, poses = [], []
            for n, sitter in enumerate(self.who.sitters):
                order = self.m.order_of(self.who, n)
                picture = self.world.draw([(sitter.identity, order.poses[0])], order.scene)
                if words != "drawn":
                    vae = self.studio.vae
                    picture = studio.bytes_of(vae.decode(vae.encode(studio.image_of(picture))))[0]
                shots.append(self.m.Shot(order, (n,), picture, self.studio.faces(picture)))
                poses.append(order.poses)
            rows.append((words, self.figures(shots, poses)))
        return rows

    def parts(self) -> list[tuple[str, dict[str, float]]]:
        """Both halves of InstantID, each alone, neither."""
        return [
            ("InstantID", self.row(EVERYBODY)),
            ("adapter alone", self.row(SOME, control=None)),
            ("IdentityNet alone", self.row(SOME, adapter=None)),
            ("without", self.row(EVERYBODY, identity=None)),
        ]

    def weights(self) -> list[tuple[str, dict[str, float]]]:
        return [
            (f"weight {weight}", self.row(SOME, adapter={"weight": weight}))
            for weight in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
        ]

    def windows(self) -> list[tuple[str, dict[str, float]]]:
        return [
            (
                f"{start} to {end}",
                self.row(SOME, adapter={"start_percent": start, "end_percent": end}),
            )
            for start, end in ((0.0, 0.3), (0.0, 0.7), (0.5, 1.0))
        ]

    def layers(self) -> list[tuple[str, dict[str, float]]]:
        """Only the down, the middle or the up blocks; a curve that falls; a noisy negative."""
        weighting = self.load("instantid_core.weighting")
        rows = [
            (f"{part} blocks only", self.row(SOME, adapter={"layer_weights": layers}))
            for part, layers in (
                ("down", weighting.LayerWeights.of_parts(1.0, 0.0, 0.0)),
                ("middle", weighting.LayerWeights.of_parts(0.0, 1.0, 0.0)),
                ("up", weighting.LayerWeights.of_parts(0.0, 0.0, 1.0)),
            )
        ]
        for start in (1.0, 0.4):
            falls = weighting.eased("linear", start, 0.0)
            given = {"weight_curve": falls}
            rows.append((f"curve from {start} to 0", self.row(SOME, adapter=given)))
        noisy = [
            self.m.order_of(
                self.who, n, identity=self.studio.identity(sitter.portrait, negative_noise=0.35)
            )
            for n, sitter in enumerate(self.who.sitters[:SOME])
        ]
        shots = [self.m.shoot(self.studio, order, n) for n, order in enumerate(noisy)]
        return [*rows, ("negative noise 0.35", self.figures(shots, [o.poses for o in noisy]))]

    def choices(self) -> list[tuple[str, dict[str, float]]]:
        """What lets the prompt have more of a say, and the presets."""
        presets, weighting = (
            self.load("instantid_core.presets"),
            self.load("instantid_core.weighting"),
        )
        usual = {"adapter": {"weight": 0.8}, "control": {"strength": 0.8}}
        late = {"start_percent": 0.2}
        ways: dict[str, dict[str, Any]] = {
            "keep length": {"adapter": {"weight": 0.8, "adding": "keep length"}},
            "keep length, weight 0.4": {"adapter": {"weight": 0.4, "adding": "keep length"}},
            "scales 1.5 and 1.5": {"scales": (1.5, 1.5)},
            "scales 1.5 and 2.5": {"scales": (1.5, 2.5)},
            "scales 2.5 and 1.5": {"scales": (2.5, 1.5)},
            "late start": {
                "adapter": {"weight": 0.8, **late},
                "control": {"strength": 0.8, **late},
            },
            "IdentityNet every 2nd step": {"control": {"strength": 0.8, "every": 2}},
            "IdentityNet every 3rd step": {"control": {"strength": 0.8, "every": 3}},
        }
        for name, preset in presets.PRESETS.items():
            ways[f"preset {name}"] = {
                "adapter": {"weight": preset.weight, "adding": preset.adding.value},
                "control": {"strength": preset.strength},
                "steps": 3 if name == "few steps" else 6,
            }
        ways["balanced in 3 steps"] = {"steps": 3}
        rows = [(words, self.row(SOME, **{**usual, **way})) for words, way in ways.items()]
        opening = weighting.eased("linear", 0.0, 1.0)
        for words, curve in (("region", None), ("region that opens", opening)):
            rows.append((words, self.in_region(curve, outline=(0.3, 0.3))))
        return rows

    def in_region(self, curve: Any, outline: tuple[float, float]) -> dict[str, float]:
        """InstantID inside the padded box of the face, which a curve may open or close."""
        regions = self.load("instantid_core.regions")
        keypoints_of = self.load("devtools.drawn.studio").keypoints_of
        box = regions.Outline(regions.Shape.BOX, *outline)
        shots, poses = [], []
        for n in range(SOME):
            order = self.m.order_of(self.who, n)
            region = regions.FaceRegion(keypoints_of(*order.poses), outline=box, curve=curve)
            given = {"adapter": {"weight": 0.8, "mask": region}}
            order = order.but(**given, control={"strength": 0.8, "mask": region})
            shots.append(self.m.shoot(self.studio, order, n))
            poses.append(order.poses)
        return self.figures(shots, poses)

    def region(self) -> list[tuple[str, dict[str, float]]]:
        """InstantID inside the box of the face alone."""
        regions = self.load("nodes.regions").FaceRegionMask
        keypoints_of = self.load("devtools.drawn.studio").keypoints_of
        size = self.world.SIZE
        shots, poses = [], []
        for n in range(SOME):
            order = self.m.order_of(self.who, n)
            points = keypoints_of(*order.poses)
            mask = regions.execute(points, size, size, "crop", "box", 0.0, 0.0)[0]
            order = order.but(adapter={"mask": mask}, control={"mask": mask})
            shots.append(self.m.shoot(self.studio, order, n))
            poses.append(order.poses)
        return [("in the box of the face", self.figures(shots, poses))]

    def two(self) -> list[tuple[str, dict[str, float]]]:
        shots = [
            self.m.shoot(
                self.studio, self.m.order_of_two(self.studio, self.who, n), *self.m.pair(n)
            )
            for n in range(EVERYBODY)
        ]
        figures = self.figures(shots, [self.m.two_people(n)[1] for n in range(EVERYBODY)])
        figures["not mixed"] = sum(self.m.is_not_mixed(shot, self.who) for shot in shots)
        return [("two people", figures)]

    def seeds(self) -> list[tuple[str, dict[str, float]]]:
        """The same people and scenes with other noise."""
        rows = []
        for more in (1000, 2000):
            orders = [self.m.order_of(self.who, n, seed=more + n) for n in range(SOME)]
            shots = [self.m.shoot(self.studio, order, n) for n, order in enumerate(orders)]
            rows.append((f"seeds from {more}", self.figures(shots, [o.poses for o in orders])))
        return rows

    def old(self) -> list[tuple[str, dict[str, float]]]:
        """The old pack's node, as it comes: hidden noise, 0.8 and 0.8, the pose as a picture."""
        import torch

        apply = self.load("nodes.legacy.apply").ApplyInstantID
        rows, poses = [], []
        studio = self.load("devtools.drawn.studio")
        for n, sitter in enumerate(self.who.sitters[:SOME]):
            order = self.m.order_of(self.who, n)
            stranger = self.who.sitters[(n + 3) % EVERYBODY].identity
            pose = self.world.draw([(stranger, order.poses[0])], order.scene)
            texts = self.studio.text(order.scene.prompt()), self.studio.text("")
            with torch.inference_mode():
                made = apply.execute(
                    *(self.studio.adapter, self.studio.analyzer, self.studio.control_net),
                    *(studio.image_of(sitter.portrait), self.studio.model, *texts, 0.8, 0.0, 1.0),
                    image_kps=studio.image_of(pose),
                )
                picture = self.studio.sample(order, (made[0], made[1], made[2]))[0]
            rows.append(self.m.Shot(order, (n,), picture, self.studio.faces(picture)))
            poses.append(order.poses)
        return [
            ("Apply InstantID (old)", self.figures(rows, poses)),
            (
                "ours at 0.8 and 0.8",
                self.row(SOME, adapter={"weight": 0.8}, control={"strength": 0.8}),
            ),
        ]

    def write(self, table: str) -> None:
        import cv2
        import numpy as np

        began = time.monotonic()
        self.pictures = []
        rows = getattr(self, table)()
        seconds = time.monotonic() - began
        (self.output / f"{table}.md").write_text(markdown(rows), encoding="utf-8")
        sheet = np.concatenate([np.concatenate(row, 1) for row in self.pictures], 0)
        cv2.imwrite(str(self.output / f"{table}.png"), sheet[..., ::-1])
        for words, figures in rows:
            told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            print(f"{table}: {words}: {told} ({seconds:.0f} s)", flush=True)


def markdown(rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    """Return rows of figures as a table of docs/proof.md."""
    heads = ["", *rows[0][1]]
    lines = [heads, ["---"] * len(heads)]
    lines += [[words, *(f"{value:.3g}" for value in row.values())] for words, row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


TABLES = (
    "true",
    "parts",
    "two",
    "weights",
    "region",
    "old",
    "windows",
    "layers",
    "seeds",
    "choices",
)


def main() -> None:
    comfyui, models, output = (Path(argument).resolve() for argument in sys.argv[1:4])
    tables = sys.argv[4:] or TABLES  # ComfyUI gets arguments of its own below
    sys.path.insert(0, str(DEVTOOLS))
    maker = importlib.import_module("make_standins")
    maker.start_comfyui(comfyui)
    maker.checkout()
    output.mkdir(parents=True, exist_ok=True)
    proof = Proof(lambda name: importlib.import_module(f"{maker.PACKAGE}.{name}"), models, output)
    for table in tables:
        proof.write(table)


if __name__ == "__main__":
    main()

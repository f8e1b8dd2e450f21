"""How one combination with another pack is written down: steps of a workflow, and checks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Step:
    """One node.

    inputs: `@name` is what an earlier step gave by that name. A required input that is left out
    takes what was given by its own name, else the node's default. gives: the name of each output,
    "" for one that nobody wants.
    """

    node: str
    gives: tuple[str, ...] = ()
    inputs: dict[str, Any] = field(default_factory=dict)


def step(node: str, gives: str = "", **inputs: Any) -> Step:
    """Return a Step; gives: names with spaces between, `-` for an output that nobody wants."""
    names = tuple("" if name == "-" else name for name in gives.split())
    return Step(node, names, inputs)


@dataclass(frozen=True)
class Scene:
    """What all workflows begin with.

    Sizes are in pixels. photo: whose face it is. pose: what keypoints and pictures are taken from.
    """

    width: int = 128
    height: int = 192
    batch: int = 1
    steps: int = 2
    cfg: float = 5.0
    seed: int = 1
    photo: str = "example.png"
    pose: str = "example.png"


@dataclass(frozen=True)
class Check:
    """One promise. within: the largest difference that is still the same, in parts of the
    largest number; 0 is the same bits.

    instead: steps by field of the Combination, for a second workflow that is compared with the
    first. text: what must be in the server's log, or in the message of a node that refuses.
    """

    kind: str
    within: float = 0.0
    instead: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    text: str = ""


ORDER = Check("order")
RERUN = Check("rerun")
ABSENCE = Check("absence")
EFFECT = Check("effect")
OUR_EFFECT = Check("our effect")
SLOTS = Check("slots")
ROLES = Check("roles", within=2e-4)
ELSEWHERE = Check("elsewhere")
RUNS = Check("runs")


def like(within: float, **instead: tuple[Step, ...]) -> Check:
    """Return the check that the picture is the same with some steps put in place of others."""
    return Check("like", within, instead)


def says(text: str) -> Check:
    """Return the check that this text stands in the log, once for a run, or in a refusal."""
    return Check("says", text=text)


KSAMPLER = (step("KSampler", "result", latent_image="@latent", scheduler="normal"),)


WEIGHT = "@our_weight"  # 0.8, or 0 where our absence is looked for
ADAPTER = (step("IID_ApplyAdapter", "model", face_embeds="@face", weight=WEIGHT),)
MASKED_ADAPTER = (
    step("IID_ApplyAdapter", "model", face_embeds="@face", weight=WEIGHT, mask="@mask"),
)
IDENTITYNET = (
    step(
        "IID_ApplyIdentityNet",
        "positive negative",
        face_embeds="@face",
        keypoints="@keypoints",
        strength=WEIGHT,
    ),
)
BOTH = (
    step(
        "IID_Apply",
        "model positive negative",
        face_embeds="@face",
        keypoints="@keypoints",
        weight=WEIGHT,
        strength=WEIGHT,
        face_region=False,
    ),
)


@dataclass(frozen=True)
class Combination:
    """One combination with another pack.

    theirs: the other pack's steps, put before and after ours. ours: this pack's. prepare: steps
    before both; after: steps that always come after both; sample: the last steps, which give
    `result`, a latent or pictures. note: what a reader of the table must know.
    needs: other packs without which it cannot be tried.
    """

    pack: str
    title: str
    theirs: tuple[Step, ...]
    checks: tuple[Check, ...]
    ours: tuple[Step, ...] = ADAPTER
    prepare: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    sample: tuple[Step, ...] = KSAMPLER
    scene: Scene = Scene()
    note: str = ""
    needs: tuple[str, ...] = ()

    def instead(self, steps: dict[str, tuple[Step, ...]]) -> Combination:
        """Return it with other steps in some fields."""
        return replace(self, **steps)  # pyright: ignore[reportArgumentType]

"""Run a combination in a server and say which of its promises hold."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from comfy_server import PromptFailedError, Server
from numpy.typing import NDArray
from safetensors.numpy import load_file

from neighbours.combination import Check, Combination
from neighbours.graphs import UnknownNodeError, Variant, prompt_of

SEEN = 1e-3  # a difference that is an effect, in parts of the largest number
ALL_SLOTS = 70
AS_WITHOUT = 2.0  # times the difference without InstantID, where bits differ without it
OLD_IDS = (
    *("InstantIDModelLoader", "InstantIDFaceAnalysis", "ApplyInstantID", "ApplyInstantIDAdvanced"),
    *("FaceKeypointsPreprocessor", "InstantIDAttentionPatch", "ApplyInstantIDControlNet"),
)
OTHER_PHOTO = "somebody_else.png"
Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Verdict:
    """How one check went. said: what was found, in a few words."""

    check: str
    holds: bool
    said: str = ""


@dataclass(frozen=True)
class Made:
    """What one run gave: numbers, slots of this pack that were called, and lines of the log."""

    numbers: Numbers
    slots: int
    log: str


class Runner:
    """Runs the variants of one combination, each once. nodes: the server's `/object_info`."""

    _turns = itertools.count(1)

    def __init__(self, server: Server, nodes: dict[str, Any], combination: Combination) -> None:
        self.server, self.nodes, self.combination = server, nodes, combination
        self._made: list[tuple[Combination, Variant, Made]] = []

    def check_all(self) -> list[Verdict]:
        """Return a verdict for each check; a run that fails is one."""
        return [self._verdict(check) for check in self.combination.checks]

    def _verdict(self, check: Check) -> Verdict:
        try:
            return CHECKS[check.kind](self, check)
        except UnknownNodeError as error:
            return Verdict(check.kind, False, str(error.args[0]))
        except PromptFailedError as error:
            if check.kind == "says" and check.text in error.message:
                return Verdict(check.kind, True)
            node = f"{error.node}: " if error.node else ""
            message = " ".join(error.message.split())[:200]
            return Verdict(check.kind, False, f"fails ({node}{message})")

    def run(self, variant: Variant, of: Combination | None = None) -> Made:
        """Return what a variant gives, from the first run of it."""
        of = of or self.combination
        for known_of, known, made in self._made:
            if known_of == of and known == variant:
                return made
        made = self.run_anew(replace(variant, turn=next(self._turns)), of)
        self._made.append((of, variant, made))
        return made

    def run_anew(self, variant: Variant, of: Combination) -> Made:
        """Return what a variant gives now; what depends on its turn may come from the cache."""
        prompt, counter = prompt_of(self.nodes, of, variant)
        before = len(self.server.log)
        result = self.server.run(prompt)
        kept = load_file(self.server.base / "output" / "kept.safetensors")["kept"]
        return Made(kept, int(result.text(counter) or 0), self.server.log[before:])

    def variant(self, ours: str = "on", theirs: str = "first", **scene: Any) -> Variant:
        return Variant(ours, theirs, self.combination.scene).of(**scene)

    def three_runs(self) -> list[Made]:
        """Return the same run twice with another seed's run between, on cached models."""
        turn, seed = next(self._turns), self.combination.scene.seed
        variants = [self.variant(seed=seed + add) for add in (0, 1, 0)]
        return [self.run_anew(replace(v, turn=turn), self.combination) for v in variants]


def difference(one: Numbers, other: Numbers) -> float:
    """Return the largest difference, in parts of the largest number where that is above 1.

    Infinity where sizes differ or a number is none.
    """
    if one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("inf")
    return float(np.abs(one - other).max()) / max(1.0, float(np.abs(one).max()))


def same(check: Check, one: Numbers, other: Numbers) -> Verdict:
    found = difference(one, other)
    return Verdict(check.kind, found <= check.within, f"differs by {found:.1e}")


def check_order(runner: Runner, check: Check) -> Verdict:
    first = runner.run(runner.variant())
    return same(check, first.numbers, runner.run(runner.variant(theirs="last")).numbers)


def check_rerun(runner: Runner, check: Check) -> Verdict:
    first, other, third = (made.numbers for made in runner.three_runs())
    if difference(first, other) < SEEN:
        return Verdict(check.kind, False, "another seed gives the same")
    return same(check, first, third)


def check_absence(runner: Runner, check: Check) -> Verdict:
    zero = runner.run(runner.variant(ours="zero"))
    return same(check, zero.numbers, runner.run(runner.variant(ours="off")).numbers)


def check_effect(runner: Runner, check: Check) -> Verdict:
    verdict = check_our_effect(runner, check)
    both = runner.run(runner.variant()).numbers
    theirs = difference(both, runner.run(runner.variant(theirs="off")).numbers)
    if verdict.holds and theirs < SEEN:
        return Verdict(check.kind, False, f"the other pack changes {theirs:.1e}")
    return verdict


def check_our_effect(runner: Runner, check: Check) -> Verdict:
    both = runner.run(runner.variant()).numbers
    ours = difference(both, runner.run(runner.variant(ours="off")).numbers)
    return Verdict(check.kind, SEEN <= ours < float("inf"), f"InstantID changes {ours:.1e}")


def check_slots(runner: Runner, check: Check) -> Verdict:
    found = {runner.run(runner.variant(theirs=where)).slots for where in ("first", "last")}
    said = "slots called: " + ", ".join(str(number) for number in sorted(found))
    return Verdict(check.kind, found == {ALL_SLOTS}, said)


def check_roles(runner: Runner, check: Check) -> Verdict:
    """The face is in the positive alone: one step is affine in CFG, and tells both sides.

    With x(cfg) = u + cfg (c - u), x(1) = c, where ComfyUI leaves the negative out altogether;
    x(2) and x(3) must give the same c, and u must not depend on whose face it is.
    """
    one, two, three = (
        runner.run(runner.variant(steps=1, cfg=float(cfg))).numbers for cfg in (1, 2, 3)
    )
    other = runner.variant(steps=1, photo=OTHER_PHOTO)
    other_one, other_two = (runner.run(other.of(cfg=float(cfg))).numbers for cfg in (1, 2))
    positive = difference(one, 2 * two - three)
    negative = difference(2 * one - two, 2 * other_one - other_two)
    if difference(one, other_one) < SEEN:
        return Verdict(check.kind, False, "another face gives the same picture")
    said = f"positive off by {positive:.1e}, negative by {negative:.1e}"
    return Verdict(check.kind, max(positive, negative) <= check.within, said)


def check_like(runner: Runner, check: Check) -> Verdict:
    """Compare with the other workflow.

    Rows of another batch are not computed to the last bit alike: where that is not enough, what
    both workflows differ by without InstantID is the measure.
    """
    other = runner.combination.instead(check.instead)
    apart: list[float] = []
    for ours in ("on", "off"):
        variant = runner.variant(ours=ours)
        made = runner.run(variant).numbers
        apart.append(difference(made, runner.run(variant, other).numbers))
        if apart[0] <= check.within:
            return Verdict(check.kind, True, f"differs by {apart[0]:.1e}")
    said = "differs by {:.1e}, without InstantID by {:.1e}".format(*apart)
    return Verdict(check.kind, apart[0] <= AS_WITHOUT * apart[1], said)


def check_says(runner: Runner, check: Check) -> Verdict:
    said = runner.run(runner.variant()).log.count(check.text)
    return Verdict(check.kind, said > 0, f"says {said} times: {check.text}")


def check_ids(runner: Runner, check: Check) -> Verdict:
    """The seven old ids are the other pack's, in whatever order the two were loaded."""
    modules = {name: runner.nodes[name]["python_module"] for name in OLD_IDS}
    ours = [name for name, module in modules.items() if not module.endswith(check.text)]
    return Verdict(check.kind, not ours and "IID_Apply" in runner.nodes, ", ".join(ours))


def check_elsewhere(runner: Runner, check: Check) -> Verdict:
    """Compare the bottom right corner, an eighth of each side, with and without InstantID."""
    corners: list[Numbers] = []
    for ours in ("on", "off"):
        made = runner.run(runner.variant(ours=ours, steps=1)).numbers
        first = 1 if made.shape[-1] == 3 else 2  # (B,H,W,3) of pictures, (B,C,h,w) of latents
        height, width = made.shape[first : first + 2]
        down, across = slice(height - height // 8, None), slice(width - width // 8, None)
        corners.append(made[:, down, across] if first == 1 else made[:, :, down, across])
    return same(check, *corners)


def check_runs(runner: Runner, check: Check) -> Verdict:
    finite = bool(np.isfinite(runner.run(runner.variant()).numbers).all())
    return Verdict(check.kind, finite, "not all numbers are finite")


CHECKS: dict[str, Callable[[Runner, Check], Verdict]] = {
    "order": check_order,
    "rerun": check_rerun,
    "absence": check_absence,
    "effect": check_effect,
    "our effect": check_our_effect,
    "slots": check_slots,
    "roles": check_roles,
    "like": check_like,
    "says": check_says,
    "ids": check_ids,
    "elsewhere": check_elsewhere,
    "runs": check_runs,
}

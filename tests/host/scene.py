"""A patched and recorded model, and the naive adapter that each of its rows is compared with."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch
from faithful_instantid.instantid_core import host

from .comparing import relative_error
from .naive_adapter import NaiveAdapter, Recorder, Row, stacked

TOLERANCE = 1e-5  # fp32 rounding: rows in other batches
CFG = 4.0
SIGMAS = (7.0, 2.0, 0.0)


class Texts:
    """Conditionings of known sides: their text tells afterwards which side a row belongs to."""

    def __init__(self, official: dict[str, torch.Tensor]) -> None:
        self.official = official
        self.sides: list[tuple[torch.Tensor, str]] = []

    def make(self, side: str, tokens: int = 77, **extra: Any) -> list[Any]:
        """A CONDITIONING of a text of its own, of `tokens` tokens."""
        scale = 1.0 + 0.1 * len(self.sides)
        text = self.official[f"in.{side}"] * scale
        text = torch.cat([text] * (tokens // 77), dim=1)
        self.sides.append((text, side))
        pooled = self.official[f"in.{side}_pooled"]
        return [[text, {"pooled_output": pooled, **extra}]]

    def side_of(self, row: Row) -> str:
        (side,) = {
            side for text, side in self.sides if torch.equal(row.context[:, :77], text[:, :77])
        }
        return side


class Scene:
    """A patched and recorded model, and the naive adapter that its rows are compared with."""

    def __init__(self, official: Any, tiny_model: Any, identity: Any, naive: NaiveAdapter) -> None:
        self.texts = Texts(official)
        self.official = official
        self.identity = identity
        self.naive = naive
        self.recorder = Recorder()
        self.bare = tiny_model
        self.model = self.recorder.on(host.apply_adapter(tiny_model, identity))

    def guider(self, model: Any | None = None) -> Any:
        guider = comfy.samplers.CFGGuider(self.model if model is None else model)
        guider.set_conds(self.texts.make("positive"), self.texts.make("negative"))
        guider.set_cfg(CFG)
        return guider

    def sample(self, guider: Any, batch: int = 1) -> None:
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(batch, 4, 16, 16, generator=generator)
        with torch.inference_mode():
            guider.sample(
                noise,
                torch.zeros_like(noise),
                comfy.samplers.sampler_object("euler"),
                torch.tensor(SIGMAS),
                seed=1,
            )

    def check(self, **naive: Any) -> dict[str, int]:
        """Compare every recorded row with the naive adapter; return how many each side had."""
        groups: dict[Any, list[Row]] = {}
        for row in self.recorder.rows:
            side = self.texts.side_of(row)
            groups.setdefault((side, row.x.shape, row.context.shape), []).append(row)
        counts = {"positive": 0, "negative": 0}
        for (side, *_), rows in groups.items():
            row = stacked(rows)
            wanted = self.naive.predict(row, self.official[f"out.tokens_{side}"], **naive)
            assert relative_error(row.out, wanted) < TOLERANCE, side
            counts[side] += len(rows)
        return counts

"""What the adapter itself costs inside a call of the UNet, and the bytes it holds: the verdict.

Whole calls on a shared machine are noisy by several percent. So the adapter's own work is timed
where it happens: composing the slots, and in each of the 70 layers all beyond the text attention.
Of IdentityNet it is the cross-attention, with its projections of the tokens.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.patcher_extension
import torch
from comfy.ldm.modules.attention import optimized_attention

from ...instantid_core.host import apply_adapter
from ...instantid_core.host.adapter_call import SlotAttention
from ...instantid_core.host.sampling import RUN
from . import models as m
from .timing import Clock

LIMITS = {512: 0.02, 256: 0.0225}  # own time over the time of a bare call, by picture size
RUNS = 5  # the verdict is on their median: one run alone comes out up to a tenth higher or lower
CALLS = 3  # timed calls of one sampling
BYTES_LIMIT = 12_000_000  # on the compute device, for one identity in 16 bit
KIND = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL


@dataclass(frozen=True)
class Overhead:
    """What the adapter takes of a call: by run, and bytes held while sampling.

    runs: the adapter's own seconds and those of a bare call, each by call.
    """

    pixels: int
    runs: list[tuple[list[float], list[float]]]
    nbytes: int

    @property
    def ratios(self) -> list[float]:
        """Own time over a bare call, by run."""
        return [statistics.median(own) / statistics.median(bare) for own, bare in self.runs]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def is_kept(self) -> bool:
        """Whether the limits hold; sizes without a limit of their own have none."""
        return self.ratio <= LIMITS.get(self.pixels, float("inf")) and self.nbytes <= BYTES_LIMIT

    def to_json(self) -> dict[str, Any]:
        return {"runs": self.runs, "ratios": self.ratios, "ratio": self.ratio, "bytes": self.nbytes}

    def text(self) -> str:
        limit = f"limit {LIMITS[self.pixels]}; " if self.pixels in LIMITS else ""
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        spread = f"{limit}{len(self.runs)} runs, quartiles {low:.4f} to {high:.4f}"
        return f"{self.ratio:.4f} of a bare call at {self.pixels}x{self.pixels} ({spread})"


class OwnTime:
    """Two wrappers around the adapter's own: between them, and in its slots, runs its clock.

    calls: the seconds of each call so far.
    """

    def __init__(self, device: torch.device, now: Callable[[], float] = time.perf_counter) -> None:
        """now: seconds, of a clock for the CPU."""
        self.device, self._seconds = device, now
        self.spans: list[float] = []
        self.calls: list[float] = []
        self.nbytes = 0
        self._begun = 0.0

    def on(self, model: Any, patch: Callable[[Any], Any]) -> Any:
        """Return `patch(model)` with a wrapper outside of the patch's and one inside."""
        outside = model.clone()
        self._add(outside, "outside", self._enter)
        patched = patch(outside)
        self._add(patched, "inside", self._leave)
        return patched

    def _add(self, model: Any, key: str, wrapper: Callable[..., Any]) -> None:
        options = model.model_options["transformer_options"]
        comfy.patcher_extension.add_wrapper_with_key(KIND, key, wrapper, options)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return self._seconds()

    def _enter(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        self._begin()
        out = executor(*args, **kwargs)
        self.calls.append(sum(self.spans))
        self.spans = []
        return out

    def _begin(self, *_: Any) -> None:
        self._begun = self._now()

    def _end(self, *_: Any) -> None:
        self.spans.append(self._now() - self._begun)

    @contextmanager
    def also_of(self, control_model: torch.nn.Module) -> Iterator[None]:
        """Count what a ControlNet spends in cross-attention, from to_q to to_out, too.

        It is evaluated before the UNet, and counts to the UNet's next call.
        """
        layers = [x for name, x in control_model.named_modules() if name.endswith(".attn2")]
        handles = [x.get_submodule("to_q").register_forward_pre_hook(self._begin) for x in layers]
        handles += [x.get_submodule("to_out").register_forward_hook(self._end) for x in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(
        self, executor: Any, x: Any, t: Any, c: Any, y: Any, control: Any, options: Any, **kw: Any
    ) -> Any:
        self._end()
        self.nbytes = options[RUN].resident(x.device, x.dtype).nbytes
        replaced = options["patches_replace"]
        timed = {slot: self._timed(patch) for slot, patch in replaced["attn2"].items()}
        options = {**options, "patches_replace": {**replaced, "attn2": timed}}
        return executor(x, t, c, y, control, options, **kw)

    def _timed(self, slot: SlotAttention) -> Callable[..., torch.Tensor]:
        def attention(q: Any, k: Any, v: Any, extra_options: dict[str, Any]) -> torch.Tensor:
            text = optimized_attention(q, k, v, extra_options["n_heads"])
            self._begin()
            out = slot.added(text, q, extra_options, in_place=True)
            self._end()
            return out

        return attention


def measure(models: m.Models, pixels: int, rounds: int) -> Overhead:
    """Measure the adapter's own time and a bare call's in alternate samplings of CALLS calls.

    rounds: how many calls of each all runs together have at least.
    """
    identity, clock, x = models.identity(1), Clock(models.device), m.noise(pixels, 1)
    runs, inside = [], OwnTime(models.device)
    for _ in range(RUNS):
        own: list[float] = []
        bare: list[float] = []
        for _ in range(-(-rounds // (RUNS * CALLS))):
            seconds, _ = m.calls(models.model, models.positive, models.negative, x, CALLS, clock)
            bare += seconds
            inside = OwnTime(models.device)
            patched = inside.on(models.model, functools.partial(apply_adapter, identity=identity))
            m.calls(patched, models.positive, models.negative, x, CALLS, clock)
            own += inside.calls[1:]
        runs.append((own, bare))
    return Overhead(pixels, runs, inside.nbytes)


def verdict(overheads: Sequence[Overhead]) -> str:
    """Say in one line whether the limits hold, with the figures."""
    held = max(overhead.nbytes for overhead in overheads)
    figures = "; ".join(overhead.text() for overhead in overheads)
    word = "PASS" if all(overhead.is_kept for overhead in overheads) else "FAIL"
    return (
        f"{word}: the adapter's own time is {figures}; "
        f"it holds {held / 1e6:.2f} MB on the device (limit {BYTES_LIMIT / 1e6:.0f})"
    )

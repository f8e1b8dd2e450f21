"""torch.compile of a patched UNet works, and compiles no more at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.patcher_extension
import comfy.samplers
import pytest
import torch
import torch._dynamo
from comfy_api.torch_helpers import set_torch_compile_wrapper
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.weighting import eased
from torch._dynamo.backends.registry import lookup_backend

from .comparing import relative_error
from .predict import SIDES, conditioning, noise_of, predict

Official = dict[str, torch.Tensor]
# A transformer block, as packs that compile region by region take it: it holds one slot.
BLOCK = "diffusion_model.middle_block.1.transformer_blocks.0"
SIGMAS = (14.0, 7.0, 4.0, 3.0, 2.0, 0.1, 0.0)
WINDOW = {"start_percent": 0.05, "end_percent": 0.8}  # shut at the first step and the last


class Compilations:
    """The aot_eager backend; counts how often it compiles in each call of the model."""

    def __init__(self) -> None:
        self.asked = 0
        self.calls: list[int] = []

    def __call__(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        self.asked += 1
        return lookup_backend("aot_eager")(graph, inputs)

    def on(self, model: Any) -> Any:
        clone = model.clone()
        kind = comfy.patcher_extension.WrappersMP.APPLY_MODEL
        options = clone.model_options["transformer_options"]
        comfy.patcher_extension.add_wrapper_with_key(kind, "compilations", self._count, options)
        set_torch_compile_wrapper(clone, backend=self, keys=[BLOCK])
        return clone

    def _count(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        before = self.asked
        out = executor(*args, **kwargs)
        self.calls.append(self.asked - before)
        return out


def sample(model: Any, official: Official) -> torch.Tensor:
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(*(conditioning(official, side) for side in SIDES))
    guider.set_cfg(4.0)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return guider.sample(
            noise,
            torch.zeros_like(noise),
            comfy.samplers.sampler_object("euler"),
            torch.tensor(SIGMAS),
            seed=1,
        )


def test_steps_masks_windows_and_curves_do_not_compile_again(
    tiny_model: Any, identity: Any, official: Official
) -> None:
    mask = torch.rand(64, 64, generator=torch.Generator().manual_seed(4))
    model = host.apply_adapter(
        tiny_model, identity, mask=mask, curve=eased("linear", 1.0, 0.2), **WINDOW
    )
    wanted = sample(model, official)
    compilations = Compilations()
    compiled = compilations.on(model)
    try:
        found = [sample(compiled, official) for _ in range(2)]
    finally:
        torch.compiler.reset()
    steps = len(SIGMAS) - 1
    assert len(compilations.calls) == 2 * steps
    first, second = compilations.calls[:steps], compilations.calls[steps:]
    # Once with the window shut, once with it open, and once more where a weight begins to vary.
    assert first[0] > 0 and first[1] > 0
    assert first[3:] == [0] * (steps - 3) and second == [0] * steps
    assert all(relative_error(out, wanted) < 1e-5 for out in found)


@pytest.mark.timeout(1200)  # compiling takes minutes on a busy machine
def test_the_whole_unet_compiles_and_predicts_the_same(
    tiny_model: Any, identity: Any, official: Official
) -> None:
    model = host.apply_adapter(tiny_model, identity)
    x = noise_of(official, model, 501)
    texts = [conditioning(official, side) for side in SIDES]
    wanted = predict(model, *texts, x, 501)
    compiled = model.clone()
    set_torch_compile_wrapper(compiled, backend="aot_eager")
    try:
        # One version of each frame is enough here: more would compile for a minute.
        with torch._dynamo.config.patch(recompile_limit=1):
            found = [predict(compiled, *texts, x, 501) for _ in range(2)]
    finally:
        torch.compiler.reset()
    for out in found:
        assert all(relative_error(out[side], wanted[side]) < 1e-5 for side in SIDES)

"""Windows, masks, areas, batches and context windows at once: each row still gets its own."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import torch
from comfy_extras import nodes_context_windows
from faithful_instantid.instantid_core import host

from .comparing import relative_error
from .naive_adapter import Recorder, Row
from .scene import CFG, Scene, Texts

TOLERANCE = 3e-5  # fp32 rounding: in another batch the bare UNet itself is 1e-5 away
LOWER_HALF = (8, 16, 8, 0)  # height, width, top, left in latent cells
SIGMAS = (9.0, 2.0, 0.0)
OPEN = (0.2, 0.8)  # shut at the first step, open at the second


def masks(frames: int) -> torch.Tensor:
    return torch.rand(frames, 128, 128, generator=torch.Generator().manual_seed(frames))


def noise(frames: int) -> torch.Tensor:
    return torch.randn(frames, 4, 16, 16, generator=torch.Generator().manual_seed(2))


def sampled(
    texts: Texts, model: Any, x: torch.Tensor, sigmas: tuple[float, ...] = SIGMAS
) -> torch.Tensor:
    """Sample with a positive for the lower half, one for all of the picture, and a negative."""
    positive = texts.make("positive", area=LOWER_HALF, strength=1.0) + texts.make("positive")
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, texts.make("negative"))
    guider.set_cfg(CFG)
    with torch.inference_mode():
        return guider.sample(
            x,
            torch.zeros_like(x),
            comfy.samplers.sampler_object("euler"),
            torch.tensor(sigmas),
            seed=1,
        )


def is_open(row: Row) -> bool:
    """Say whether a row's timestep, 999 to 0, lies in the window."""
    start, end = OPEN
    return (1.0 - end) * 999 <= float(row.timestep) <= (1.0 - start) * 999


def test_a_window_an_area_and_a_mask_for_each_picture_work_together(scene: Scene) -> None:
    start, end = OPEN
    settings: dict[str, Any] = {"start_percent": start, "end_percent": end, "mask": masks(2)}
    scene.recorder = Recorder()
    model = scene.recorder.on(host.apply_adapter(scene.bare, scene.identity, **settings))
    sampled(scene.texts, model, noise(2))
    seen: dict[tuple[bool, bool], int] = {}
    for index, row in enumerate(scene.recorder.rows):
        mask = masks(2)[index % 2]  # a conditioning's pictures lie side by side
        in_area = row.x.shape[-2] == 8
        weight = 0.8 if is_open(row) else 0.0
        wanted = scene.naive.predict(
            row,
            scene.official[f"out.tokens_{scene.texts.side_of(row)}"],
            weight=weight,
            mask=mask[64:] if in_area else mask,
        )
        assert relative_error(row.out, wanted) < TOLERANCE
        seen[in_area, is_open(row)] = seen.get((in_area, is_open(row)), 0) + 1
    # Two pictures, and in the area as in the whole of them a positive and a negative.
    assert seen == dict.fromkeys([(True, True), (True, False), (False, True), (False, False)], 4)


def test_each_picture_keeps_its_mask_in_any_context_window(
    official: dict[str, torch.Tensor], tiny_model: Any, identity: Any
) -> None:
    start, end = OPEN
    frames = 5
    model = host.apply_adapter(
        tiny_model, identity, start_percent=start, end_percent=end, mask=masks(frames)
    )
    x = noise(1).repeat(frames, 1, 1, 1)  # only their masks tell the pictures apart
    wanted = sampled(Texts(official), model, x, SIGMAS[1:])
    assert all(relative_error(wanted[i], wanted[i - 1]) > 1e-3 for i in range(frames))
    in_windows = nodes_context_windows.ContextWindowsManualNode.execute(
        model, 3, 1, "looped_uniform", 1, True, "pyramid", 0, False
    )[0]
    assert relative_error(sampled(Texts(official), in_windows, x, SIGMAS[1:]), wanted) < TOLERANCE

"""What other packs do to a call, in short: their contracts, written from what they were seen to do.

Real packs are run beside this one by a person who has them (see docs); these keep the same seams.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.patcher_extension
import torch
from torch.nn.functional import interpolate

Tile = tuple[int, int, int, int]  # top, left, height, width in latent cells
TAGS = ("faithful_instantid_role", "faithful_instantid_cells")


class TileSampler:
    """Cuts x into tiles and stacks them, tile after tile, as TiledDiffusion does.

    Cuts every picture-like tensor along with x, in the measure of its own size, fails on one of the
    latent's very size, and repeats the others; sets each net's current hint to one row for each row
    of a call. tells: False leaves the cutting of tensors out.
    """

    def __init__(self, tiles: list[Tile], at_once: int, *, tells: bool = True) -> None:
        self.tiles, self.at_once, self.tells = tiles, at_once, tells
        self.calls: list[tuple[list[Tile], torch.Tensor]] = []

    def on(self, model: Any) -> Any:
        clone = model.clone()
        clone.set_model_unet_function_wrapper(self._call)
        return clone

    @contextmanager
    def holding(self, *nets: Any) -> Iterator[None]:
        """While sampling, nets are evaluated by the tiles and not for the whole picture."""
        for net in nets:
            net.get_control_orig = net.get_control
            net.get_control = lambda *_, net=net: net
        try:
            yield
        finally:
            for net in nets:
                del net.get_control, net.get_control_orig

    def _call(self, apply_model: Any, args: dict[str, Any]) -> torch.Tensor:
        x, t, c = args["input"], args["timestep"], args["c"]
        out, counts = torch.zeros_like(x), torch.zeros_like(x)
        for start in range(0, len(self.tiles), self.at_once):
            tiles = self.tiles[start : start + self.at_once]
            part = torch.cat([cut(x, tile) for tile in tiles])
            given = {key: self._cut_too(value, x, tiles) for key, value in c.items()}
            times = t.repeat(len(tiles))
            if "control" in c:
                net = c["control"]
                height, width = (8 * side for side in x.shape[-2:])
                hint = interpolate(net.cond_hint_original, (height, width), mode="nearest-exact")
                hint = hint if len(hint) == len(x) else hint[:1].repeat(len(x), 1, 1, 1)
                pixels = [(8 * a, 8 * b, 8 * h, 8 * w) for a, b, h, w in tiles]
                net.cond_hint = torch.cat([cut(hint, tile) for tile in pixels])
                chunks = len(args["cond_or_uncond"])
                given["control"] = net.get_control_orig(
                    part, times, given, chunks, c["transformer_options"]
                )
            made = apply_model(part, times, **given)
            self.calls.append((tiles, made))
            for tile, piece in zip(tiles, made.split(len(x)), strict=True):
                cut(out, tile).add_(piece)
                cut(counts, tile).add_(1.0)
        return out / counts

    def _cut_too(self, value: Any, x: torch.Tensor, tiles: list[Tile]) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if value.ndim == x.ndim and self.tells:
            if value.shape[-2:] == x.shape[-2:]:
                raise AttributeError("'int' object has no attribute 'slicer'")
            times = value.shape[-1] // x.shape[-1]
            scaled = [tuple(times * side for side in tile) for tile in tiles]
            return torch.cat([cut(value, tile) for tile in scaled])
        return value.repeat(len(tiles), *[1] * (value.ndim - 1))


def cut(x: torch.Tensor, tile: Tile) -> torch.Tensor:
    """A view of a tile of (B,C,H,W)."""
    top, left, height, width = tile
    return x[..., top : top + height, left : left + width]


class SlidingWindows:
    """Evaluates windows of frames as AnimateDiff-Evolved does, and averages where they overlap.

    tells: where the frames of a window are written, `ad_params`; the tensors of a conditioning
    are cut if there is one row for each frame.
    """

    def __init__(self, windows: list[list[int]], *, cuts_tensors: bool = True) -> None:
        self.windows, self.cuts_tensors = windows, cuts_tensors

    def on(self, model: Any) -> Any:
        clone = model.clone()
        options = clone.model_options["transformer_options"]
        options["ad_params"] = {"sub_idxs": None, "full_length": 0, "context_length": 0}
        kind = comfy.patcher_extension.WrappersMP.CALC_COND_BATCH
        comfy.patcher_extension.add_wrapper_with_key(kind, "windows", self._call, options)
        return clone

    def _call(
        self, executor: Any, model: Any, conds: Any, x: Any, timestep: Any, options: dict[str, Any]
    ) -> list[torch.Tensor]:
        sums = [torch.zeros_like(x) for _ in conds]
        counts = torch.zeros(len(x), 1, 1, 1)
        told = options["transformer_options"]["ad_params"]
        for window in self.windows:
            told.update(sub_idxs=window, full_length=len(x), context_length=len(window))
            parts = [[self._cut(entry, window, len(x)) for entry in cond] for cond in conds]
            made = executor(model, parts, x[window], timestep[window], options)
            for whole, part in zip(sums, made, strict=True):
                whole[window] += part
            counts[window] += 1.0
        told["sub_idxs"] = None
        return [whole / counts for whole in sums]

    def _cut(self, entry: dict[str, Any], window: list[int], length: int) -> dict[str, Any]:
        net = entry.get("control")
        while net is not None:
            if not hasattr(net, "sub_idxs"):
                raise ValueError(f"{type(net).__name__} may not support sliding context")
            net.sub_idxs, net.full_latent_length = window, length
            net.context_length = len(window)
            net = net.previous_controlnet
        model_conds = {
            key: value._copy_with(value.cond[window])
            if self.cuts_tensors
            and isinstance(value.cond, torch.Tensor)
            and len(value.cond) == length
            else value
            for key, value in entry["model_conds"].items()
        }
        return {**entry, "model_conds": model_conds}


def cropped_conditioning(conditioning: list[Any], tile: Tile, canvas: tuple[int, int]) -> list[Any]:
    """A conditioning for one tile sampled as a picture of its own, as UltimateSDUpscale makes it.

    tile, canvas (height, width): in pixels. Each net of a chain is copied and given its hint's cut.
    """
    text, options = conditioning[0]
    options = dict(options)
    net = options["control"].copy()
    options["control"] = net
    source = options["control"]
    original = conditioning[0][1]["control"]
    while original is not None:
        hint = interpolate(net.cond_hint_original, canvas, mode="bilinear")
        net.cond_hint_original = cut(hint, tile)
        original = original.previous_controlnet
        net.set_previous_controlnet(None if original is None else original.copy())
        net = net.previous_controlnet
    assert source is options["control"]
    return [[text, options]]


def repeats_rows(model: Any, times: int) -> Any:
    """A clone whose cross-attentions get every row `times` times, and mean over them after."""
    clone = model.clone()

    def repeat(n: Any, context: Any, value: Any, _: dict[str, Any]) -> Any:
        return tuple(tensor.repeat(times, 1, 1) for tensor in (n, context, value))

    def mean(out: Any, _: dict[str, Any]) -> Any:
        return out.unflatten(0, (times, -1)).mean(dim=0)

    clone.set_model_attn2_patch(repeat)
    clone.set_model_attn2_output_patch(mean)
    return clone

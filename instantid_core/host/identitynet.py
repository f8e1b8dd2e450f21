"""IdentityNet: a ControlNet with tokens, hint and region of its own.

ComfyUI's conditioning has one context for all ControlNets of a chain. This one swaps in its face
tokens for its own call only, so that other ControlNets keep their text and several identities
stay apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import comfy.controlnet
import comfy.model_base
import comfy.utils
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from .. import masks
from ..errors import WrongModelError
from ..log import log_once
from ..people import Together
from ..weighting import LayerWeights, PercentTable, WeightCurve
from . import roles
from .control_blocks import encode_hint, run_blocks
from .hints import Hint, resized
from .shared_attention import Shares, replacements

LATENT_SCALE = 8
Residuals = dict[str, list[Any]]


@dataclass(frozen=True, eq=False)
class FaceControl:
    """What an IdentityNet holds besides the network.

    positive, negative: (1,N,D) float32, the face tokens of either side; of several people one
    after the other. hint: what it is shown. mask: where its residuals act, and how strongly; None
    is everywhere. layers, curve: factors on the strength, by block and over the sampling.
    people: where each of several people is; their cells attend to their own tokens only. counts:
    how many tokens each has.
    """

    positive: Tensor
    negative: Tensor
    hint: Hint
    mask: masks.Mask | None
    layers: LayerWeights | None = None
    curve: WeightCurve | None = None
    people: Together | None = None
    counts: tuple[int, ...] = ()

    @property
    def tokens(self) -> Tensor:
        """(2,N,D), indexed by role."""
        sides = {roles.NEGATIVE: self.negative, roles.POSITIVE: self.positive}
        return torch.cat([sides[role] for role in sorted(sides)])


@dataclass(frozen=True, eq=False)
class Call:
    """One evaluation: B rows of `chunks` conditionings, and what ComfyUI tells about them.

    x: (B,4,h,w) unscaled latents. sigmas: (B,). cond: tensors of B rows by name.
    """

    x: Tensor
    sigmas: Tensor
    cond: dict[str, Any]
    chunks: int
    options: dict[str, Any]

    @property
    def picture_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.x.shape[-1] * LATENT_SCALE, self.x.shape[-2] * LATENT_SCALE

    @property
    def roles(self) -> Tensor:
        """(B,) int64 on the device of x: negative or positive, by the tag of each row."""
        rows = self.x.shape[0]
        tag = self.cond.get(roles.KEY)
        if tag is not None:
            found = tag[:, 0].to(device=self.x.device, dtype=torch.int64)
            found = found.clamp(max=roles.POSITIVE)  # a person of the conditioning's is positive
            return comfy.utils.repeat_to_batch_size(found, rows)
        log_once(
            "A sampler calls IdentityNet without InstantID's tags: positive and negative are told "
            "by their position, as other packs do."
        )
        chunks = self.options.get("cond_or_uncond") or [0]
        order = [roles.POSITIVE if chunk == 0 else roles.NEGATIVE for chunk in chunks]
        return torch.tensor(order, device=self.x.device).repeat_interleave(rows // len(order))

    def for_rows(self, frames: Tensor) -> Tensor:
        """(F,...) -> (B,...): the frame of each row; a short video starts over, one serves all."""
        if frames.shape[0] == 1:
            return frames
        images = self.x.shape[0] // self.chunks
        window = getattr(self.options.get("context_window"), "index_list", None)
        listed = window if window is not None and len(window) == images else range(images)
        picked = torch.tensor([index % frames.shape[0] for index in listed] * self.chunks)
        return frames.index_select(0, picked.to(frames.device))


class GridMask:
    """A region mask at one picture size, on the grid of every residual that asked."""

    def __init__(self, mask: masks.Mask, width: int, height: int) -> None:
        self.size = (width, height)
        self._frames = masks.rendered(mask, width, height)
        self._grids: dict[tuple[int, int], Tensor] = {}
        self.is_empty = masks.is_all(self._frames, 0.0)
        self.is_full = masks.is_all(self._frames, 1.0)

    def on(self, residual: Tensor) -> Tensor:
        """Return the mask for a residual (B,C,h,w): (F,1,h,w) in its dtype, on its device.

        Source: the official ControlNet pipeline, which resizes the region mask bilinearly.
        """
        height, width = residual.shape[-2:]
        if (height, width) not in self._grids:
            grid = interpolate(self._frames[:, None], size=(height, width), mode="bilinear")
            self._grids[height, width] = grid.to(residual)
        return self._grids[height, width]


@dataclass
class _Run:
    """What is made once while sampling and dropped afterwards.

    hint: the current hint, if it was made of this net's own keypoints or image; guided: that hint
    encoded.
    """

    tokens: Tensor | None = None
    hint: Tensor | None = None
    guided: Tensor | None = None
    mask: GridMask | None = None
    shares: Shares | None = None


class IdentityNet(comfy.controlnet.ControlNet):
    """The CONTROL_NET of InstantID with its own face tokens, region mask and keypoints.

    Shares the network with the CONTROL_NET it is made of; strength, window and chain are
    ComfyUI's own. Tokens are chosen row by row, hence one object serves positive and negative.
    """

    def __init__(self, control_net: Any, face: FaceControl) -> None:
        self.face = face
        self._run = _Run()
        self._percents: PercentTable | None = None
        super().__init__(
            None,
            load_device=control_net.load_device,
            manual_cast_dtype=control_net.manual_cast_dtype,
        )
        self.control_model = control_net.control_model
        self.control_model_wrapped = control_net.control_model_wrapped

    @property
    def cond_hint_original(self) -> Tensor:
        """(B,3,H,W) in 0..1, always there: samplers that work in tiles read, cut and set it."""
        return self.face.hint.original if self._given_hint is None else self._given_hint

    @cond_hint_original.setter
    def cond_hint_original(self, hint: Tensor | None) -> None:
        replaces = hint is not None and hint is not self.face.hint.original
        self._given_hint = hint if replaces else None

    def copy(self) -> IdentityNet:
        """Return a copy that shares network, tokens and hint, at the start of a chain."""
        other = IdentityNet(self, self.face)
        self.copy_to(other)
        return other

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        """Prepare for one sampling."""
        super().pre_run(model, percent_to_timestep_function)
        if self.face.curve is not None:
            self._percents = PercentTable(percent_to_timestep_function)

    def cleanup(self) -> None:
        """Forget what was made for one sampling."""
        super().cleanup()
        self._run = _Run()

    def get_control(
        self,
        x_noisy: Tensor,
        t: Tensor,
        cond: dict[str, Any],
        batched_number: int,
        transformer_options: dict[str, Any],
    ) -> Residuals | None:
        """Return this net's masked residuals added to those of the ControlNets before it.

        x_noisy: (B,4,h,w) unscaled latents, rows of `batched_number` conditionings. t: (B,)
        sigmas. cond: the rows' conditioning, handed on untouched.
        """
        previous = None
        if self.previous_controlnet is not None:
            previous = self.previous_controlnet.get_control(
                x_noisy, t, cond, batched_number, transformer_options
            )
        factor = self._curve_factor(t)
        if self.strength == 0.0 or factor == 0.0 or not self._is_open(t):
            return previous
        call = Call(x_noisy, t, cond, batched_number, transformer_options)
        hint = self._hint_for(call)
        mask = self._mask_for(call, hint)
        if mask is not None and mask.is_empty:
            return previous
        residuals = self._weighted(self._evaluate(call, hint), factor)
        if mask is not None and not mask.is_full:
            for part, tensors in residuals.items():
                residuals[part] = [x * call.for_rows(mask.on(x)) for x in tensors]
        return self.control_merge(residuals, previous, output_dtype=None)

    @property
    def _dtype(self) -> torch.dtype:
        return self.manual_cast_dtype or self.control_model.dtype

    def _is_open(self, sigmas: Tensor) -> bool:
        """Whether the window is open; reads the device only if there is a window."""
        if self.timestep_range is None or self.timestep_percent_range == (0.0, 1.0):
            return True
        start, end = self.timestep_range
        return bool(end <= sigmas[0] <= start)

    def _curve_factor(self, sigmas: Tensor) -> float:
        """Return the curve's factor at this step; reads the device only if there is a curve."""
        if self.face.curve is None or self._percents is None:
            return 1.0
        return self.face.curve.at(self._percents.percent(float(sigmas[0])))

    def _weighted(self, residuals: Residuals, factor: float) -> Residuals:
        """Multiply the residuals with the factors of step and block; 1 leaves them as they are."""
        layers = self.face.layers
        if layers is None and factor == 1.0:
            return residuals

        def weighted(x: Tensor, block: int | None) -> Tensor:
            return x * (factor * (1.0 if layers is None else layers.of_residual(block)))

        return {
            "middle": [weighted(x, None) for x in residuals["middle"]],
            "output": [weighted(x, block) for block, x in enumerate(residuals["output"])],
        }

    def _hint_for(self, call: Call) -> Tensor:
        """Return the current hint, (F,3,H,W) in 0..1 at the picture's size.

        What somebody else set is used: the current hint if it has the right size, else the
        original. Only what nobody replaced is drawn.
        """
        width, height = call.picture_size
        if self.cond_hint is None or self.cond_hint.shape[-2:] != (height, width):
            if self._given_hint is None:
                hint = self.face.hint.at(width, height)
            else:
                hint = resized(self._given_hint, width, height)
            hint = hint.to(device=call.x.device, dtype=self._dtype)
            self.cond_hint = hint
            self._run.hint = hint if self._given_hint is None else None
            self._run.guided = None
        return self.cond_hint

    def _is_own(self, hint: Tensor) -> bool:
        """Whether nobody else made this hint."""
        return hint is self._run.hint

    def _guided(self, call: Call, hint: Tensor) -> Tensor:
        """Encode the hint: (B or 1,C,h,w); an own one of one frame only once while sampling."""
        if self._run.guided is not None and self._is_own(hint):
            return self._run.guided
        rows = call.for_rows(hint).to(device=call.x.device, dtype=self._dtype)
        guided = encode_hint(self.control_model, rows)
        if self._is_own(hint) and hint.shape[0] == 1:
            self._run.guided = guided
        return guided

    def _evaluate(self, call: Call, hint: Tensor) -> Residuals:
        """Return the net's residuals of all rows, each with the tokens of its role."""
        dtype, device = self._dtype, call.x.device
        sampling = self.model_sampling_current
        if self._run.tokens is None or self._run.tokens.device != device:
            self._run.tokens = self.face.tokens.to(device=device, dtype=dtype)
        return run_blocks(
            self.control_model,
            x=sampling.calculate_input(call.sigmas, call.x).to(dtype),
            guided_hint=self._guided(call, hint),
            timesteps=sampling.timestep(call.sigmas).to(dtype),
            context=self._run.tokens.index_select(0, call.roles),
            y=self._vector(call),
            transformer_options=self._attention(call),
        )

    def _attention(self, call: Call) -> dict[str, Any]:
        """Return the options that let every cell attend to its own person, if there are several."""
        people = self.face.people
        if people is None:
            return {}
        if self._run.shares is None or self._run.shares.size != call.picture_size:
            self._run.shares = Shares(people, self.face.counts, *call.picture_size)
        return replacements(self._run.shares, call.for_rows)

    def _vector(self, call: Call) -> Tensor:
        """Return pooled text and sizes, (B,V); WrongModelError if the model has none like that."""
        wanted = self.control_model.label_emb[0][0].in_features
        y = call.cond.get("y")
        if y is None or y.shape[-1] != wanted:
            found = "none" if y is None else f"{y.shape[-1]}"
            raise WrongModelError(
                f"IdentityNet wants {wanted} numbers about text and picture size, this model gives "
                f"{found}. InstantID works with SDXL base models only: connect the MODEL of an "
                "SDXL checkpoint, no refiner and no SD1.5."
            )
        return comfy.model_base.convert_tensor(y, self._dtype, call.x.device)

    def _mask_for(self, call: Call, hint: Tensor) -> GridMask | None:
        """Return the region mask for this picture; None is everywhere.

        Somebody else's hint belongs to a cut of the picture that is not known here; there the
        hint alone says where the face is.
        """
        if self.face.mask is None:
            return None
        if not self._is_own(hint):
            log_once(
                "Another node replaced IdentityNet's keypoints, as samplers in tiles do: its mask "
                "is left out."
            )
            return None
        if self._run.mask is None or self._run.mask.size != call.picture_size:
            self._run.mask = GridMask(self.face.mask, *call.picture_size)
        return self._run.mask

"""IdentityNet: a ControlNet with tokens, hint and region of its own.

ComfyUI's conditioning has one context for all ControlNets of a chain. This one swaps in its face
tokens for its own call only, so that other ControlNets keep their text and several identities
stay apart.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.controlnet
import comfy.model_base
import torch
from torch import Tensor

from .. import masks
from ..errors import WrongModelError
from ..families import vector_words
from ..fitting import warn_of_small_faces
from ..mask_layout import FRAMES_AT_ONCE, LATENT_SCALE, MaskLayout, Recent, Rectangle, View
from ..weighting import PercentTable
from . import rows as row_tags
from .adapter_run import MASKS_LEFT_OUT
from .control_blocks import encode_hint, run_blocks
from .face_control import FaceControl
from .hints import for_rows, resized
from .people_attention import PeopleAttention, PeopleCells, replacements
from .residuals import LastResiduals, ResidualMasks, Residuals
from .rows import Canvas, Rows
from .sampling import sampling_hooks

ENCODED_MEMORY = 256 * 2**20  # bytes of encoded hints that are kept for a sampling's next calls


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One evaluation of B rows.

    x: (B,4,h,w) unscaled latents. sigmas: (B,). cond: tensors of B rows by name. rows: what each
    row shows.
    """

    x: Tensor
    sigmas: Tensor
    cond: dict[str, Any]
    rows: Rows

    @property
    def picture_size(self) -> tuple[int, int]:
        """(width, height) of the rows, in pixels."""
        return self.x.shape[-1] * LATENT_SCALE, self.x.shape[-2] * LATENT_SCALE


class _Kept:
    """What is made once while sampling and dropped afterwards, on one device in one dtype."""

    def __init__(self, face: FaceControl, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.tokens = face.tokens.to(device=device, dtype=dtype)
        self._rows: dict[tuple[int, ...], Tensor] = {}
        self.encoded: Recent[View, Tensor] = Recent(ENCODED_MEMORY)
        self._face = face
        self.lay_for(0.0)
        self.last = LastResiduals(face.every)
        self.drawn = False
        self._canvas = Canvas((0, 0))  # where nobody made one: remembers what was told
        self._node = face.node

    def lay_for(self, percent: float) -> None:
        """Lay masks anew for a percent of the sampling."""
        mask, people = self._face.mask, self._face.people
        self.percent = percent
        now = mask.at(percent) if isinstance(mask, masks.Region) else mask
        self.layout = None if now is None else MaskLayout(now, bilinear=True)
        self.masks: Recent[View, ResidualMasks] = Recent()
        self.cells = None
        if people is not None:
            self.cells = PeopleCells(people.at(percent), self._face.counts, self._face.family)
        self.laid_cells: Recent[View, dict[masks.Grid, Tensor]] = Recent()

    def rows_of(self, places: tuple[int, ...]) -> Tensor:
        """(B,) int64 on the device: the place of each row's tokens; made once for each order."""
        if places not in self._rows:
            self._rows[places] = torch.tensor(places).to(self.device)
        return self._rows[places]

    def warn_once(self, canvas: Canvas | None, text: str) -> None:
        """Warn, the first time in a sampling; canvas: the sampling's, if it has one."""
        (canvas or self._canvas).warn_once(text, [self._node])


class IdentityNet(comfy.controlnet.ControlNet):
    """The CONTROL_NET of InstantID with its own face tokens, region mask and keypoints.

    Has the network in common with the CONTROL_NET it is made of; strength, window and chain are
    ComfyUI's own. Tokens are chosen row by row, hence one object serves positive and negative.
    """

    def __init__(self, control_net: Any, face: FaceControl) -> None:
        self.face = face
        self._kept: _Kept | None = None
        self._percents: PercentTable | None = None
        super().__init__(
            None,
            load_device=control_net.load_device,
            manual_cast_dtype=control_net.manual_cast_dtype,
        )
        self.control_model = control_net.control_model
        self.control_model_wrapped = control_net.control_model_wrapped
        self.extra_hooks = sampling_hooks()
        # AnimateDiff-Evolved refuses a net without these, and sets them for every window; which
        # frames a row shows is read where everything else about it is.
        self.sub_idxs: list[int] | None = None
        self.full_latent_length = 0
        self.context_length = 0

    @property
    def cond_hint_original(self) -> Tensor:
        """(B,3,H,W) in 0..1, always there: samplers that work in tiles read, cut and set it."""
        return self.face.hint.original if self._given_hint is None else self._given_hint

    @cond_hint_original.setter
    def cond_hint_original(self, hint: Tensor | None) -> None:
        replaces = hint is not None and hint is not self.face.hint.original
        self._given_hint = hint if replaces else None
        self._kept = None

    @property
    def is_cut(self) -> bool:
        """Whether, before a sampling, somebody set a hint: then it is of a cut of the picture."""
        return self._given_hint is not None or self.cond_hint is not None

    def copy(self) -> IdentityNet:
        """Return a copy with the same network, tokens and hint, at the start of a chain."""
        other = IdentityNet(self, self.face)
        self.copy_to(other)
        return other

    def pre_run(self, model: Any, percent_to_timestep_function: Any) -> None:
        """Prepare for one sampling."""
        super().pre_run(model, percent_to_timestep_function)
        if self.face.curve is not None or self.face.changes:
            self._percents = PercentTable(percent_to_timestep_function)

    def cleanup(self) -> None:
        """Forget what was made for one sampling, with the whole chain."""
        super().cleanup()
        self.forget()

    def forget(self) -> None:
        """Forget what was made for one sampling, also where it was cancelled or failed."""
        self.cond_hint = None
        self._kept = None
        for clone in getattr(self, "multigpu_clones", {}).values():
            clone.forget()

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
        percent = self._percent(t)
        factor = 1.0 if self.face.curve is None else self.face.curve.at(percent)
        if self.strength == 0.0 or factor == 0.0 or not self._is_open(t):
            return previous
        rows = row_tags.read(x_noisy, cond, transformer_options, batched_number)
        call = Evaluation(x_noisy, t, cond, rows)
        kept = self._kept_on(x_noisy.device)
        if self.face.changes and percent != kept.percent:
            kept.lay_for(percent)
        region = self._region_masks(call, kept)
        if region is not None and region.is_empty:
            return previous
        found = self._evaluated(call, kept, transformer_options.get("uuids", ()))
        residuals = self._weighted(found, factor)
        if region is not None:
            residuals = region.on(residuals)
        return self.control_merge(residuals, previous, output_dtype=None)

    @property
    def _dtype(self) -> torch.dtype:
        return self.manual_cast_dtype or self.control_model.dtype

    def _kept_on(self, device: torch.device) -> _Kept:
        """Return what this sampling keeps on a device."""
        kept = self._kept
        if kept is None or kept.device != device or kept.dtype != self._dtype:
            kept = self._kept = _Kept(self.face, device, self._dtype)
        return kept

    def _is_open(self, sigmas: Tensor) -> bool:
        """Whether the window is open; reads the device only if there is a window."""
        if self.timestep_range is None or self.timestep_percent_range == (0.0, 1.0):
            return True
        start, end = self.timestep_range
        return bool(end <= sigmas[0] <= start)

    def _percent(self, sigmas: Tensor) -> float:
        """Return how far the sampling is, 0..1; reads the device only where something asks."""
        return 0.0 if self._percents is None else self._percents.percent(float(sigmas[0]))

    def _weighted(self, residuals: Residuals, factor: float) -> Residuals:
        """Multiply the residuals with the factors of step and block; 1 leaves them as they are."""
        layers, family = self.face.layers, self.face.family
        if layers is None and factor == 1.0:
            return residuals

        def weighted(x: Tensor, block: int | None) -> Tensor:
            own = 1.0 if layers is None else layers.of_residual(block, family)
            return x * (factor * own)

        return {
            "middle": [weighted(x, None) for x in residuals["middle"]],
            "output": [weighted(x, block) for block, x in enumerate(residuals["output"])],
        }

    def _foreign_hint(self, call: Evaluation) -> Tensor | None:
        """Return the current hint (F,3,H,W) if somebody set one of the rows' size."""
        width, height = call.picture_size
        hint: Tensor | None = self.cond_hint
        return hint if hint is not None and hint.shape[-2:] == (height, width) else None

    def _encoded_hint(self, call: Evaluation, kept: _Kept) -> Tensor:
        """Return the hint as the first block is given it, (B or 1,C,h,w).

        What somebody else set is used: the current hint if it has the right size, else the
        original. Only what nobody replaced is drawn, for the frames and the part that the rows
        show, and encoded once while it stays the same.
        """
        foreign = self._foreign_hint(call)
        if foreign is not None:
            return self._encode(for_rows(foreign, call.rows.frames), kept)
        view = call.rows.known_view
        encoded = kept.encoded.get(view)
        if encoded is None:
            encoded = self._encode_own(view, call, kept)
            kept.encoded.put(view, encoded, encoded.nbytes)
        return encoded

    def _encode_own(self, view: View, call: Evaluation, kept: _Kept) -> Tensor:
        """Encode the original that somebody replaced, or what is drawn for a view."""
        if self._given_hint is not None:
            shown = resized(self._given_hint, *call.picture_size)
            return self._encode(for_rows(shown, view.frames), kept)
        hint, count = self.face.hint, self.face.hint.frame_count
        if not kept.drawn:
            kept.drawn = True
            say = functools.partial(kept.warn_once, call.rows.canvas)
            warn_of_small_faces(hint.fitted(*view.picture_size), say)
        rows = list(zip(view.rectangles, (frame % count for frame in view.frames), strict=True))
        distinct = list(dict.fromkeys(rows))
        repeats = len(rows) // len(distinct)
        if distinct * repeats != rows:
            distinct, repeats = rows, 1
        encoded: list[Tensor] = []
        for start in range(0, len(distinct), FRAMES_AT_ONCE):
            some = distinct[start : start + FRAMES_AT_ONCE]
            drawn = hint.at(*view.picture_size, [frame for _, frame in some])
            parts = [_cut(one, rectangle) for one, (rectangle, _) in zip(drawn, some, strict=True)]
            encoded.append(self._encode(torch.stack(parts), kept))
        every = torch.cat(encoded) if len(encoded) > 1 else encoded[0]
        return every if len(distinct) == 1 or repeats == 1 else every.repeat(repeats, 1, 1, 1)

    def _encode(self, hint: Tensor, kept: _Kept) -> Tensor:
        hint = hint.to(device=kept.device, dtype=kept.dtype).contiguous()
        return encode_hint(self.control_model, hint)

    def _evaluated(self, call: Evaluation, kept: _Kept, conds: Sequence[Hashable]) -> Residuals:
        """Return the net's residuals, or those of the last evaluation while they serve.

        conds: which conditionings the rows are of, as ComfyUI tells them apart. A hint that
        somebody else set may be another one in each call: nothing is kept.
        """
        if self.face.every == 1 or self._foreign_hint(call) is not None:
            return self._evaluate(call, kept)
        key = (call.rows.roles, call.rows.frames, call.rows.view, call.x.shape, tuple(conds))
        found = kept.last.again(key, float(call.sigmas[0]))
        if found is None:
            found = self._evaluate(call, kept)
            reason = kept.last.keep(key, found)
            if reason:
                kept.warn_once(call.rows.canvas, reason)
        return found

    def _evaluate(self, call: Evaluation, kept: _Kept) -> Residuals:
        """Return the net's residuals of all rows, each with the tokens of its role."""
        sampling = self.model_sampling_current
        return run_blocks(
            self.control_model,
            x=sampling.calculate_input(call.sigmas, call.x).to(kept.dtype),
            guided_hint=self._encoded_hint(call, kept),
            timesteps=sampling.timestep(call.sigmas).to(kept.dtype),
            context=kept.tokens.index_select(0, kept.rows_of(self.face.places(call.rows))),
            y=self._vector(call),
            transformer_options=self._attention(call, kept),
        )

    def _attention(self, call: Evaluation, kept: _Kept) -> dict[str, Any]:
        """Return the options that let every cell attend to its own person, if there are several.

        Where nobody tells which part the rows show, they are taken as a picture of their own.
        """
        if kept.cells is None:
            return {}
        view = call.rows.known_view
        laid = kept.laid_cells.get(view)
        if laid is None:
            laid = kept.cells.for_call(view, kept.tokens)
            kept.laid_cells.put(view, laid, sum(cells.nbytes for cells in laid.values()))
        return replacements(PeopleAttention(kept.cells, view, laid))

    def _vector(self, call: Evaluation) -> Tensor | None:
        """Return pooled text and sizes, (B,V), None for a net that reads none.

        Raises WrongModelError if the model has others, or reads text of another width than is this
        net's.
        """
        y, family = call.cond.get("y"), self.face.family
        reads = self.control_model.num_classes is not None
        wanted = self.control_model.label_emb[0][0].in_features if reads else None
        found = None if y is None else y.shape[-1]
        text = call.cond.get("c_crossattn")
        if not reads and text is not None and text.shape[-1] != self.face.positive.shape[-1]:
            raise WrongModelError(
                f"This model reads text of width {text.shape[-1]}, IdentityNet is for "
                f"{self.face.positive.shape[-1]}. InstantID's files for {family.name} work with "
                f"{family.name} base models only: load {family.checkpoint}."
            )
        if found != wanted:
            raise WrongModelError(
                f"IdentityNet wants {wanted or 'no'} numbers about text and picture size, this "
                f"model gives {vector_words(found)}. InstantID's files for {family.name} work with "
                f"{family.name} base models only: load {family.checkpoint}."
            )
        return None if y is None else comfy.model_base.convert_tensor(y, self._dtype, call.x.device)

    def _region_masks(self, call: Evaluation, kept: _Kept) -> ResidualMasks | None:
        """Return the region mask for this call; None is everywhere.

        A hint that somebody else set belongs to a cut of the picture; where its place is not told,
        the hint alone says where the face is.
        """
        if kept.layout is None:
            return None
        view = call.rows.view
        if view is None or (self._foreign_hint(call) is not None and not call.rows.is_told):
            kept.warn_once(call.rows.canvas, MASKS_LEFT_OUT)
            return None
        region = kept.masks.get(view)
        if region is None:
            levels = self.face.family.residual_levels
            region = ResidualMasks.laid(kept.layout, view, kept.tokens, levels)
            kept.masks.put(view, region, region.nbytes)
        return region


def _cut(picture: Tensor, rectangle: Rectangle) -> Tensor:
    """(3,H,W) -> (3,h,w): what a rectangle of the canvas shows of its picture."""
    top, left = rectangle.top * LATENT_SCALE, rectangle.left * LATENT_SCALE
    height, width = rectangle.height * LATENT_SCALE, rectangle.width * LATENT_SCALE
    return picture[:, top : top + height, left : left + width]

"""Which row of a call shows what: its role, its person, its frame, and which part of which canvas.

A position in a batch is no sign of positive or negative, and a part of a picture does not say
where it was cut: guiders, areas, windows and tiles put rows anywhere. Two small tensors in
`model_conds` are repeated, batched, concatenated, cut and moved together with the row they belong
to. This is the only reader of these tags, of ComfyUI's context windows and of other packs' ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import comfy.conds
import torch
from torch import Tensor

from ..identity import Identity
from ..log import log_once, warn
from ..mask_layout import Rectangle, View
from ..masks import Grid
from .on_node import NodeText

ROLE = "faithful_instantid_role"
CELLS = "faithful_instantid_cells"
CANVAS = "faithful_instantid_canvas"  # in transformer_options: a Canvas
PERSON = "faithful_instantid_person"  # in a conditioning's dict: a CarriedPerson

NEGATIVE = 0
POSITIVE = 1
FIRST_PERSON = 2  # from here on: positive, with a person that the conditioning carries
AS_ON_MODEL = -1.0  # a carried person's weight: that of the first person on the model

HALVES = 2  # of a latent cell on either side, see CellMap
_UNKNOWN = -1
_ROLE_OF_NAME = {"positive": POSITIVE, "negative": NEGATIVE, "empty_negative_prompt": NEGATIVE}


@dataclass(frozen=True)
class CarriedPerson:
    """A person that a conditioning brings along.

    weight: of the adapter, or AS_ON_MODEL. node: where words about it are shown.
    """

    identity: Identity
    weight: float = AS_ON_MODEL
    node: NodeText | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Canvas:
    """The picture that is sampled.

    size: (height, width) in latent cells. is_whole: False where it is a cut out of a larger one,
    at a place that nobody tells. told: the warnings that this sampling has given.
    """

    size: Grid
    is_whole: bool = True
    told: set[str] = field(default_factory=set, compare=False)

    def warn_once(self, text: str, nodes: Iterable[NodeText | None]) -> None:
        """Warn, the first time in this sampling, and show it at every node it is about."""
        if text not in self.told:
            self.told.add(text)
            warn(text)
        for node in nodes:
            if node is not None:
                node.add(text)


@dataclass(frozen=True)
class Rows:
    """What each row of one call is. latent: (height, width) of the rows, in cells.

    roles: NEGATIVE, POSITIVE, or FIRST_PERSON and the number of a carried person. frames: the
    batch index. view: which part of the picture they show; None if that is not known. is_told:
    whether a map of cells said so. canvas: the sampling's, None where nobody made one.
    """

    latent: Grid
    roles: tuple[int, ...]
    frames: tuple[int, ...]
    view: View | None
    is_told: bool = False
    canvas: Canvas | None = None

    @property
    def sides(self) -> tuple[int, ...]:
        """Each row's role as NEGATIVE or POSITIVE: a carried person's conditioning is positive."""
        return tuple(min(role, POSITIVE) for role in self.roles)

    @property
    def known_view(self) -> View:
        """What the rows show; taken as whole pictures of their own size if that is not known."""
        whole = Rectangle(0, 0, *self.latent)
        return self.view or View(self.latent, (whole,) * len(self.frames), self.frames)


class CellMap(comfy.conds.CONDNoiseShape):
    """(F,3,2H,2W) int32: of each quarter of a latent cell its frame, and its row and column in
    halves of a cell.

    Cut like the latent, by ComfyUI for areas and windows and by TiledDiffusion for tiles. In halves
    of a cell, because that pack cuts tensors of any size but the latent's own, on which it fails.
    Integers, because what floats become in the model's number format is not exact.
    """

    @classmethod
    def of(cls, noise: Tensor) -> CellMap:
        """Return the map of a latent (F,C,H,W)."""
        frames, height, width = noise.shape[0], HALVES * noise.shape[-2], HALVES * noise.shape[-1]
        cells = torch.empty(frames, 3, height, width, dtype=torch.int32)
        cells[:, 0] = torch.arange(frames, dtype=torch.int32)[:, None, None]
        cells[:, 1] = torch.arange(height, dtype=torch.int32)[None, :, None]
        cells[:, 2] = torch.arange(width, dtype=torch.int32)[None, None, :]
        return cls(cells)

    def process_cond(self, batch_size: int, area: Any, **kwargs: Any) -> CellMap:
        halves = None if area is None else [HALVES * side for side in area]
        made = super().process_cond(batch_size, halves, **kwargs)
        if batch_size != self.cond.shape[0]:  # whoever cut the frames did not cut them here
            made.cond = made.cond.clone()
            made.cond[:, 0] = _UNKNOWN
        return made


def role_tag(role: int) -> comfy.conds.CONDRegular:
    """Return the tag of one role: (1,1) int32."""
    return comfy.conds.CONDRegular(torch.tensor([[role]], dtype=torch.int32))


def tagged(cond: Mapping[str, Any], role: int) -> dict[str, Any]:
    """Return a copy of a conditioning's dict that carries `role`; a tag that is there stays."""
    model_conds = cond.get("model_conds", {})
    if ROLE in model_conds:
        return dict(cond)
    return {**cond, "model_conds": {**model_conds, ROLE: role_tag(role)}}


def tag_for_sampling(
    conds: MutableMapping[str, list[dict[str, Any]]], noise: Tensor
) -> list[CarriedPerson]:
    """Tag every conditioning that a guider holds for this sampling with its role and its cells.

    The guider's known names decide about the side; any other conditioning goes by the tag it has,
    and is positive without one. noise: (F,C,H,W).
    Returns the people that conditionings carry, in the order of their roles from FIRST_PERSON on.
    """
    people: list[CarriedPerson] = []
    cells = CellMap.of(noise) if noise.ndim == 4 else None
    for name, entries in conds.items():
        conds[name] = [_tagged_for_sampling(entry, name, cells, people) for entry in entries]
    return people


def _tagged_for_sampling(
    entry: Mapping[str, Any], name: str, cells: CellMap | None, people: list[CarriedPerson]
) -> dict[str, Any]:
    role = _ROLE_OF_NAME.get(name, role_of(entry))
    person: CarriedPerson | None = entry.get(PERSON)
    if person is not None and role == POSITIVE:
        if person not in people:
            people.append(person)
        role = FIRST_PERSON + people.index(person)
    tags = {ROLE: role_tag(role)} if cells is None else {ROLE: role_tag(role), CELLS: cells}
    return {**entry, "model_conds": {**entry.get("model_conds", {}), **tags}}


def role_of(cond: Mapping[str, Any]) -> int:
    """Return the role that a conditioning's dict carries; POSITIVE without one."""
    tag = cond.get("model_conds", {}).get(ROLE)
    return POSITIVE if tag is None else int(tag.cond[0, 0])


def read(
    x: Tensor, cond: Mapping[str, Any], options: Mapping[str, Any], chunks: int | None = None
) -> Rows:
    """Say what each row of a call is.

    x: (B,C,h,w), what the model or a ControlNet is given. cond: tensors of B rows by name, with
    the tags among them. options: ComfyUI's transformer_options. chunks: of how many conditionings
    the rows are, where the caller knows it.
    """
    latent = (x.shape[-2], x.shape[-1])
    count = x.shape[0]
    roles = _roles(cond.get(ROLE), count, options)
    cells: Tensor | None = cond.get(CELLS)
    canvas: Canvas | None = options.get(CANVAS)
    frames = _listed_frames(count, options, chunks or len(_chunks(options)))
    if cells is None or count % cells.shape[0]:
        whole = Rectangle(0, 0, *latent)
        is_whole = canvas is None or canvas == Canvas(latent)
        view = View(latent, (whole,) * count, frames) if is_whole and cells is None else None
        return Rows(latent, roles, frames, view, canvas=canvas)
    firsts, lasts = cells[:, :, 0, 0].tolist(), cells[:, :, -1, -1].tolist()
    times = count // cells.shape[0]
    told = tuple(first[0] for first in firsts) * times
    frames = frames if _UNKNOWN in told else told
    size = (HALVES * latent[0], HALVES * latent[1])
    if canvas is None or not canvas.is_whole or tuple(cells.shape[-2:]) != size:
        return Rows(latent, roles, frames, None, canvas=canvas)
    found = [_rectangle(*corners, latent) for corners in zip(firsts, lasts, strict=True)]
    rectangles = tuple(one for one in found if one is not None) * times
    view = View(canvas.size, rectangles, frames) if len(rectangles) == count else None
    return Rows(latent, roles, frames, view, view is not None, canvas)


def _rectangle(first: Sequence[int], last: Sequence[int], latent: Grid) -> Rectangle | None:
    """Return the rectangle between two corners of the map; None if it is not one cut.

    A cut may begin in the middle of a cell where a tile's place in cells was rounded down.
    """
    _, top, left = first
    height, width = latent
    if (last[1] - top + 1, last[2] - left + 1) != (HALVES * height, HALVES * width):
        return None
    return Rectangle(top // HALVES, left // HALVES, height, width)


def _roles(tag: Tensor | None, count: int, options: Mapping[str, Any]) -> tuple[int, ...]:
    if tag is not None and count % len(tag) == 0:
        return tuple(map(int, tag[:, 0].tolist())) * (count // len(tag))
    log_once(
        "A sampler calls the model without InstantID's tags: positive and negative are told "
        "by their position, as other packs do."
    )
    order = [POSITIVE if chunk == 0 else NEGATIVE for chunk in _chunks(options)]
    return tuple(role for role in order for _ in range(count // len(order)))


def _chunks(options: Mapping[str, Any]) -> Sequence[int]:
    """The place in the guider's list of each conditioning in this batch."""
    return options.get("cond_or_uncond") or [0]


def _listed_frames(count: int, options: Mapping[str, Any], chunks: int) -> tuple[int, ...]:
    """Return the batch index of each row where no map tells it: a window lists those of its own.

    Reads ComfyUI's context windows, and those of AnimateDiff-Evolved.
    """
    size = count // chunks
    window = options.get("context_window")
    listed = list(getattr(window, "index_list", None) or ())
    anchor = getattr(window, "causal_anchor_index", None)
    if anchor is not None and anchor >= 0:
        listed = [anchor, *listed]
    if not listed:
        listed = list(options.get("ad_params", {}).get("sub_idxs") or ())
    frames = listed if len(listed) == size else range(size)
    return tuple(frames) * chunks

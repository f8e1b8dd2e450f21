"""The adapter as a module: the Resampler and one K and one V projection per slot.

Attribute names are the file's keys: `image_proj.latents`, `ip_adapter.1.to_k_ip.weight`, ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .errors import WrongFileError
from .resampler import Resampler, ResamplerSize
from .unet_layout import FAMILIES, Family, family_with, file_number


@dataclass(frozen=True)
class AdapterSize:
    """The sizes of an adapter file: its Resampler, and C of each slot in the file's order."""

    resampler: ResamplerSize
    channels: tuple[int, ...]

    @property
    def family(self) -> Family:
        """The base models it is for, told by its layers. Raises WrongFileError for none."""
        family = family_with(len(self.channels))
        if family is None:
            raise WrongFileError(
                f"This adapter has {len(self.channels)} layers. Wanted: "
                + " or ".join(f"{len(one.slots)}, for {one.name}" for one in FAMILIES)
                + ". Load one of InstantID's adapter files."
            )
        return family


class AdapterModule(nn.Module):
    """Face embedding to face tokens, and face tokens to K and V of every slot."""

    def __init__(
        self,
        size: AdapterSize,
        operations: Any,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        place: dict[str, Any] = {"device": device, "dtype": dtype}
        width = size.resampler.output_width
        self.size = size
        self.image_proj = Resampler(size.resampler, operations, **place)
        self.ip_adapter = nn.ModuleDict(
            {
                str(file_number(position)): nn.ModuleDict(
                    {
                        name: operations.Linear(width, channels, bias=False, **place)
                        for name in ("to_k_ip", "to_v_ip")
                    }
                )
                for position, channels in enumerate(size.channels)
            }
        )

    def face_tokens(self, face_embedding: Tensor) -> Tensor:
        """(M,512) raw embeddings of M references -> (1, M*16, 2048): references side by side."""
        return self.image_proj(face_embedding.unsqueeze(1)).flatten(0, 1).unsqueeze(0)

    def project(self, face_tokens: Tensor) -> Tensor:
        """face_tokens (1,N,2048) -> flat (N * 2 * sum of C,).

        Slot after slot in the order of the file, each first K then V, each (N,C) row-major.
        """
        parts = [linear(face_tokens).flatten() for linear in self._projections()]
        return torch.cat(parts)

    def _projections(self) -> list[nn.Module]:
        """Return K and V of each slot, in the order the flat layout has."""
        return [part for slot in self.ip_adapter.children() for part in slot.children()]

"""The pure parts of the adapter: slot table, tokens, projections, masks, noise."""

from __future__ import annotations

import pytest
import torch
from faithful_instantid.instantid_core import masks
from faithful_instantid.instantid_core.adapter import AdapterModule, AdapterSize
from faithful_instantid.instantid_core.attention import add_identity
from faithful_instantid.instantid_core.embeddings import negative_noise
from faithful_instantid.instantid_core.errors import WrongInputError, WrongModelError
from faithful_instantid.instantid_core.resampler import ResamplerSize
from faithful_instantid.instantid_core.unet_layout import SDXL, file_number, measure_unet
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

SMALL = AdapterSize(
    ResamplerSize(width=128, depth=2, queries=4, inner=64, hidden=256, output_width=32),
    tuple(range(1, 71)),
)


def small_module() -> AdapterModule:
    module = AdapterModule(SMALL, nn)
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / 8
    return module.requires_grad_(False)


def test_the_slot_table_has_70_different_slots_in_the_order_of_the_file() -> None:
    assert len(set(SDXL.slots)) == len(SDXL.slots) == 70
    numbered = {file_number(i): slot for i, slot in enumerate(SDXL.slots)}
    assert numbered[1] == ("input", 4, 0) and numbered[7] == ("input", 5, 1)
    assert numbered[9] == ("input", 7, 0) and numbered[47] == ("input", 8, 9)
    assert numbered[49] == ("output", 0, 0) and numbered[119] == ("output", 5, 1)
    assert numbered[121] == ("middle", 0, 0) and numbered[139] == ("middle", 0, 9)


def test_several_references_kept_apart_give_their_tokens_side_by_side() -> None:
    module = small_module()
    faces = torch.randn(3, 512, generator=torch.Generator().manual_seed(1))
    tokens = module.face_tokens(faces)
    assert tokens.shape == (1, 12, 32)
    for i in range(3):
        alone = module.face_tokens(faces[i : i + 1])
        torch.testing.assert_close(tokens[:, 4 * i : 4 * i + 4], alone, atol=1e-5, rtol=1e-5)


def test_the_flat_layout_is_slot_after_slot_first_k_then_v() -> None:
    module = small_module()
    tokens = module.face_tokens(torch.ones(1, 512))
    flat = module.project(tokens)
    assert flat.numel() == 2 * 4 * sum(SMALL.channels)
    at = 0
    for position, channels in enumerate(SMALL.channels):
        for part in ("k", "v"):
            name = f"ip_adapter.{file_number(position)}.to_{part}_ip"
            wanted = module.get_submodule(name)(tokens)[0]
            assert torch.equal(flat[at : at + 4 * channels].view(4, channels), wanted)
            at += 4 * channels


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_the_identity_is_added_weighted_and_masked(in_place: bool, masked: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    text, q = (torch.randn(2, 9, 8, generator=generator) for _ in range(2))
    k, v = torch.randn(2, 2, 4, 8, generator=generator)
    mask = torch.rand(1, 9, 1, generator=generator) if masked else None
    laid = None if mask is None else masks.cut_to_box(mask.view(1, 3, 3))
    before = text.clone()
    out = add_identity(text, q, k, v, 0.7, laid, scaled_dot_product_attention, in_place=in_place)
    share = torch.softmax(q @ k.mT / 8**0.5, dim=-1) @ v
    wanted = before + 0.7 * share * (1.0 if mask is None else mask)
    torch.testing.assert_close(out, wanted)
    assert torch.equal(text, before) != in_place


@pytest.mark.parametrize("in_place", [True, False])
def test_the_identity_is_computed_for_the_cells_of_its_mask_only(in_place: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    text, q = (torch.randn(2, 20, 8, generator=generator) for _ in range(2))
    k, v = torch.randn(2, 2, 4, 8, generator=generator)
    mask = torch.zeros(2, 4, 5, 1)
    mask[0, 1, 1:3], mask[1, 2, 2:4] = 0.5, 1.0  # together a box of 2 by 3 cells
    asked: list[torch.Size] = []

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        asked.append(q.shape)
        return scaled_dot_product_attention(q, k, v)

    before = text.clone()
    laid = masks.cut_to_box(mask[..., 0])
    out = add_identity(text, q, k, v, 0.7, laid, attend, in_place=in_place)
    share = scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(out, before + 0.7 * share * mask.flatten(1, 2))
    assert asked == [(2, 6, 8)]
    empty = masks.cut_to_box(torch.zeros(1, 4, 5))
    assert torch.equal(add_identity(out, q, k, v, 0.7, empty, attend, in_place=False), out)
    assert len(asked) == 1


@pytest.mark.parametrize("masked", [True, False])
def test_rows_in_a_row_that_share_a_side_get_what_they_get_alone(masked: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    text, q = (torch.randn(6, 20, 8, generator=generator) for _ in range(2))
    k, v = torch.randn(2, 2, 4, 8, generator=generator)
    mask = torch.zeros(6, 4, 5)
    mask[:, 1:3, 2:] = torch.rand(6, 2, 3, generator=generator)
    laid = masks.cut_to_box(mask) if masked else None
    attend = scaled_dot_product_attention
    shared = add_identity(text, q, k, v, 0.7, laid, attend, in_place=False)
    each = (x.repeat_interleave(3, dim=0) for x in (k, v))
    torch.testing.assert_close(
        shared, add_identity(text, q, *each, 0.7, laid, attend, in_place=False)
    )


@pytest.mark.parametrize(
    ("tokens", "activations", "latent", "wanted"),
    [
        (64 * 64, (64, 64), (128, 128), (64, 64)),
        (33 * 32, (33, 32), (65, 63), (33, 32)),
        (33 * 32, None, (65, 63), (33, 32)),
        (17 * 16, None, (65, 63), (17, 16)),
        # Deep shrink: the block is smaller than the level would be, and says so.
        (20 * 31, (20, 31), (128, 128), (20, 31)),
        # What is reported has another number of cells: it is of another layer.
        (33 * 32, (66, 64), (65, 63), (33, 32)),
    ],
)
def test_the_layers_real_grid_is_found(
    tokens: int,
    activations: tuple[int, int] | None,
    latent: tuple[int, int],
    wanted: tuple[int, int],
) -> None:
    assert masks.grid_of(tokens, activations, latent) == wanted


def test_a_grid_that_cannot_be_known_is_an_error_that_says_why() -> None:
    with pytest.raises(WrongInputError, match="layer of 777 cells in a latent of 64x48: another"):
        masks.grid_of(777, None, (48, 64))


def test_a_mask_is_laid_by_nearest_neighbour_rows_first() -> None:
    mask = torch.arange(8.0).view(1, 2, 4)
    assert masks.on_grid(mask, (1, 2)).flatten().tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        ("mask", "The mask is a text. A MASK is wanted"),
        (torch.zeros(1, 2, 3, 4), "The mask has the size 1 x 2 x 3 x 4"),
        (torch.zeros(0, 4), "The mask has the size"),
        (torch.full((2, 2), float("nan")), "values that are not numbers"),
    ],
)
def test_what_is_no_mask_is_refused(mask: object, text: str) -> None:
    with pytest.raises(WrongInputError, match=text):
        masks.checked(mask)


def test_negative_noise_is_seeded_and_touches_no_other_random_number() -> None:
    face = torch.randn(512)
    state = torch.get_rng_state()
    first, second, other = (negative_noise(face, 0.5, seed) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert float(first.min()) >= 0.0 and 0.4 < float(first.max()) < 0.5
    assert not negative_noise(face, 0.0, 7).any()
    with pytest.raises(WrongInputError, match=r"The negative noise is -0\.1"):
        negative_noise(face, -0.1, 7)


def test_a_model_without_cross_attention_is_refused_by_its_name() -> None:
    with pytest.raises(WrongModelError, match=r"of another build than a UNet \(Flux\)"):
        measure_unet(type("Flux", (nn.Linear,), {})(1, 1))

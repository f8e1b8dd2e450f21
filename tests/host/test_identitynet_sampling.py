"""IdentityNet in whole samplings: passes of other sizes, inpainting, tiles, other patches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.hooks
import comfy.sample
import pytest
import torch
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
from faithful_instantid.devtools import tiny_sdxl
from faithful_instantid.instantid_core.fitting import standard_face
from faithful_instantid.instantid_core.host import apply_adapter, apply_identitynet
from faithful_instantid.instantid_core.host.people import carry_person
from faithful_instantid.instantid_core.identity import Identity
from faithful_instantid.instantid_core.regions import FaceRegion
from faithful_instantid.tests.golden.weights import fill

from .predict import SIDES, conditioning, noise_of, predict
from .recording import calls_of

Official = dict[str, torch.Tensor]
Pair = tuple[list[Any], list[Any]]
FACE = standard_face(512, 512)


@pytest.fixture(scope="module")
def text(official: Official) -> Pair:
    positive, negative = (conditioning(official, side) for side in SIDES)
    return positive, negative


@pytest.fixture(scope="module")
def pair(text: Pair, make_controlnet: Callable[[str], Any], identity: Identity) -> Pair:
    """Conditionings with IdentityNet within the face."""
    net = make_controlnet("identitynet")
    return apply_identitynet(*text, net, identity, FACE, mask=FaceRegion(FACE))


def sample(
    model: Any,
    pair: Pair,
    latent: torch.Tensor,
    *,
    steps: int = 2,
    denoise: float = 1.0,
    **options: Any,
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(latent.shape, generator=generator)
    return comfy.sample.sample(
        *(model, noise, steps, 5.0, "euler", "normal", *pair, latent),
        denoise=denoise,
        disable_pbar=True,
        **options,
    )


def test_a_second_pass_at_another_size_draws_for_that_size(
    tiny_model: Any, pair: Pair, text: Pair
) -> None:
    first = sample(tiny_model, pair, torch.zeros(1, 4, 16, 16))
    larger = torch.nn.functional.interpolate(first, size=(24, 20), mode="nearest")
    second = sample(tiny_model, pair, larger, denoise=0.5)
    again = sample(tiny_model, pair, larger, denoise=0.5)
    assert torch.equal(second, again)
    assert not torch.equal(second, sample(tiny_model, text, larger, denoise=0.5))


def test_every_sampling_is_the_same_however_often_it_is_run(tiny_model: Any, pair: Pair) -> None:
    latent = torch.zeros(2, 4, 16, 16)
    first = sample(tiny_model, pair, latent)
    sample(tiny_model, pair, torch.zeros(1, 4, 8, 8))
    assert torch.equal(first, sample(tiny_model, pair, latent))


def test_a_batch_is_evaluated_in_one_call_per_step(
    tiny_model: Any, pair: Pair, make_controlnet: Callable[[str], Any]
) -> None:
    network = make_controlnet("identitynet").control_model
    unet = tiny_model.model.diffusion_model
    with calls_of(unet) as unet_calls, calls_of(network.middle_block) as net_calls:
        sample(tiny_model, pair, torch.zeros(3, 4, 8, 8))
    assert unet_calls == net_calls == [6, 6]


def test_a_noise_mask_keeps_what_it_protects(tiny_model: Any, pair: Pair) -> None:
    latent = torch.randn(1, 4, 16, 16)
    mask = torch.zeros(1, 1, 128, 128)
    mask[..., 64:] = 1.0
    found = sample(tiny_model, pair, latent, noise_mask=mask)
    assert torch.allclose(found[..., :8], latent[..., :8], atol=1e-4)
    assert not torch.allclose(found[..., 8:], latent[..., 8:], atol=1e-1)


def test_an_inpainting_model_of_nine_channels_works(
    text: Pair, make_controlnet: Callable[[str], Any], identity: Identity
) -> None:
    model = tiny_sdxl.build_model(lambda shapes: fill(shapes, "unet"), in_channels=9)
    net = make_controlnet("identitynet")
    positive, negative = apply_identitynet(*text, net, identity, FACE, mask=FaceRegion(FACE))
    inpaint = {
        "concat_latent_image": torch.randn(1, 4, 16, 16),
        "concat_mask": torch.ones(1, 1, 16, 16),
    }
    full, plain = (
        tuple([[entry, {**options, **inpaint}] for entry, options in side] for side in both)
        for both in ((positive, negative), text)
    )
    patched = apply_adapter(model, identity, mask=FaceRegion(FACE))
    found = sample(patched, full, torch.zeros(1, 4, 16, 16))
    assert torch.isfinite(found).all()
    assert not torch.equal(found, sample(model, plain, torch.zeros(1, 4, 16, 16)))


@pytest.mark.parametrize("after_skip", [True, False])
def test_kohya_deep_shrink_runs_and_the_residuals_that_fit_still_work(
    official: Official, tiny_model: Any, pair: Pair, text: Pair, after_skip: bool
) -> None:
    shrunk = PatchModelAddDownscale.execute(
        tiny_model, 3, 2.0, 0.0, 1.0, after_skip, "bicubic", "bicubic"
    ).result[0]
    x = noise_of(official, shrunk, 501)
    found, without = (predict(shrunk, *both, x, 501) for both in (pair, text))
    for side in SIDES:
        assert torch.isfinite(found[side]).all()
        assert not torch.equal(found[side], without[side])


class OneOfAKind(comfy.hooks.TransformerOptionsHook):
    """A hook that loses what it was given when it is copied, as prompt-control's does."""

    def clone(self) -> OneOfAKind:
        raise AssertionError("it was copied")


@pytest.mark.parametrize("side", [0, 1])
def test_a_hook_on_one_conditioning_alone_leaves_the_other_as_it_is(
    tiny_model: Any, pair: Pair, side: int
) -> None:
    """ComfyUI's scheduled LoRAs and other packs' attention couples are such hooks."""
    group = comfy.hooks.HookGroup()
    group.add(OneOfAKind({}, comfy.hooks.EnumHookScope.HookedOnly))
    hooked = [pair[0], pair[1]]
    hooked[side] = comfy.hooks.set_hooks_for_conditioning(pair[side], group)
    latent = torch.zeros(1, 4, 16, 12)
    found = sample(tiny_model, (hooked[0], hooked[1]), latent)
    plain = sample(tiny_model, pair, latent)  # in one batch; hooks are evaluated apart
    assert (found - plain).abs().max() < 1e-4 * plain.abs().max()


def test_a_person_on_a_conditioning_joins_its_hooks_and_copies_none(
    text: Pair, identity: Identity
) -> None:
    group = comfy.hooks.HookGroup()
    group.add(OneOfAKind({}))
    hooked = comfy.hooks.set_hooks_for_conditioning(text[0], group)
    ((_, options),) = carry_person(hooked, identity)
    assert any(hook is group.hooks[0] for hook in options["hooks"].hooks)
    assert len(group) == 1


@pytest.mark.parametrize(("node", "with_the_unet"), [(LazyCacheNode, True), (EasyCacheNode, False)])
def test_lazycache_skips_identitynet_and_easycache_does_not(
    tiny_model: Any,
    pair: Pair,
    make_controlnet: Callable[[str], Any],
    node: Any,
    with_the_unet: bool,
) -> None:
    """The help pages say so."""
    steps = 8
    cached = node.execute(tiny_model, 3.0, 0.0, 1.0, False).result[0]
    network = make_controlnet("identitynet").control_model
    unet = tiny_model.model.diffusion_model.time_embed  # called once in each evaluation
    with calls_of(unet) as unet_calls, calls_of(network.middle_block) as net_calls:
        sample(cached, pair, torch.zeros(1, 4, 16, 12), steps=steps)
    assert len(unet_calls) < steps
    assert len(net_calls) == (len(unet_calls) if with_the_unet else steps)


def test_tiles_with_hints_of_their_own_run_after_each_other(
    tiny_model: Any, pair: Pair, make_controlnet: Callable[[str], Any]
) -> None:
    """As tiled upscalers do: copy the net, cut its original hint, sample the tile."""
    tiles = []
    for side in (0, 1):
        cut = []
        for both in pair:
            net = both[0][1]["control"].copy()
            net.cond_hint_original = net.cond_hint_original.chunk(2, dim=3)[side]
            cut.append([[both[0][0], {**both[0][1], "control": net}]])
        tiles.append(sample(tiny_model, tuple(cut), torch.zeros(1, 4, 16, 8)))
    assert not torch.equal(*tiles)
    original = pair[0][0][1]["control"].cond_hint_original
    assert original.shape[-1] == 1280  # the user's own is as it was

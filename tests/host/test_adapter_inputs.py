"""What the adapter takes: models, dtypes, masks; and what it says about what it does not take."""

from __future__ import annotations

from typing import Any

import comfy.model_base
import comfy.ops
import pytest
import torch
from comfy_extras import nodes_model_advanced
from faithful_instantid.devtools import tiny_sdxl
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import WrongInputError, WrongModelError
from faithful_instantid.instantid_core.host.rows import ROLE

from .comparing import relative_error
from .naive_adapter import NaiveAdapter, Row
from .predict import SIDES, conditioning, noise_of, predict


class FakeModel:
    """A MODEL that holds a module which is not an SDXL UNet."""

    def __init__(self, unet: torch.nn.Module) -> None:
        self.model = torch.nn.Module()
        self.model.diffusion_model = unet


def unet_of(context_dim: int, **changes: Any) -> FakeModel:
    """A real ComfyUI UNet of another family, on the meta device."""
    config = {**tiny_sdxl.UNET_CONFIG, "context_dim": context_dim, **changes}
    kind = comfy.model_base.UNetModel
    operations = comfy.ops.disable_weight_init
    return FakeModel(kind(**config, device="meta", dtype=torch.float32, operations=operations))


SD1 = {
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
}
SSD1B = {
    "transformer_depth": [0, 0, 2, 2, 4, 4],
    "transformer_depth_output": [0, 0, 0, 1, 1, 2, 4, 4, 10],
    "transformer_depth_middle": -1,
}


@pytest.mark.parametrize(
    ("context", "changes", "name"),
    [
        (1024, SD1, r"SD2 \(16 cross-attentions of context width 1024\)"),
        (1280, {"transformer_depth_middle": 4}, "the SDXL refiner"),
        (2048, SSD1B, "a cut-down SDXL such as SSD-1B"),
    ],
)
def test_another_unet_is_refused_by_its_name(
    identity: Any, context: int, changes: dict[str, Any], name: str
) -> None:
    with pytest.raises(WrongModelError, match=f"This model is {name}") as caught:
        host.apply_adapter(unet_of(context, **changes), identity)
    assert "InstantID works with SDXL base models: a UNet with 70" in str(caught.value)


def test_sd15_wants_a_face_of_its_own_adapter(identity: Any) -> None:
    wanted = r"encoded for SDXL, this model is SD1\.5\. Load an SDXL .* ip-state\.ckpt"
    with pytest.raises(WrongModelError, match=wanted):
        host.apply_adapter(unet_of(768, **SD1), identity)


def test_a_tensorrt_engine_is_refused_by_its_name(identity: Any) -> None:
    engine = type("TrTUnet", (), {})()  # as the TensorRT nodes call it; no module
    with pytest.raises(WrongModelError, match="is a TensorRT engine.*checkpoint it was built from"):
        host.apply_adapter(FakeModel(engine), identity)


def test_a_transformer_is_refused_by_its_name(identity: Any) -> None:
    flux = type("Flux", (torch.nn.Linear,), {})(1, 1)
    with pytest.raises(WrongModelError, match=r"of another build than a UNet \(Flux\)"):
        host.apply_adapter(FakeModel(flux), identity)
    with pytest.raises(WrongModelError, match="The model is a text, without a diffusion model"):
        host.apply_adapter("model", identity)


def test_an_identity_of_another_width_is_refused(identity: Any) -> None:
    with pytest.raises(WrongModelError, match="context width 64, this model's is 2048"):
        host.apply_adapter(unet_of(2048), identity)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"mask": "mask"}, "The mask is a text"),
        ({"mask": torch.zeros(1, 2, 3, 4)}, "The mask has the size"),
        ({"weight": float("nan")}, "weight is nan. Wanted: an ordinary number"),
    ],
)
def test_wrong_settings_are_refused(
    tiny_model: Any, identity: Any, settings: dict[str, Any], text: str
) -> None:
    with pytest.raises(WrongInputError, match=text):
        host.apply_adapter(tiny_model, identity, **settings)


def test_what_another_pack_made_is_refused(tiny_model: Any) -> None:
    with pytest.raises(WrongInputError, match="`face_embeds` is a dictionary .* from Encode Face"):
        host.apply_adapter(tiny_model, {"cond": 1, "uncond": 2})
    with pytest.raises(WrongInputError, match="adapter is a dictionary .*, none of this pack"):
        host.encode_identity({}, torch.zeros(512))


@pytest.mark.parametrize(
    ("embedding", "text"),
    [
        (None, "The face embedding is nothing. Wanted: a tensor of 512 numbers"),
        (torch.zeros(1280), "has the size 1280. Wanted: 512 numbers for one face"),
        (torch.full((512,), float("nan")), "values that are not numbers"),
    ],
)
def test_what_is_no_face_embedding_is_refused(adapter: Any, embedding: Any, text: str) -> None:
    with pytest.raises(WrongInputError, match=text):
        host.encode_identity(adapter, embedding)
    with pytest.raises(WrongInputError, match="Both must have the same size"):
        host.encode_identity(adapter, torch.ones(512), torch.zeros(2, 512))


def test_identities_of_one_adapter_share_their_negative_side(
    adapter: Any, identity: Any, official: dict[str, torch.Tensor]
) -> None:
    other = host.encode_identity(adapter, official["in.face_embedding"].flip(0))
    assert other.negative is identity.negative
    noisy = host.encode_identity(adapter, other.face_embedding, torch.ones(512))
    assert noisy.negative is not identity.negative
    assert not torch.equal(noisy.negative.kv, identity.negative.kv)


def with_lora(model: Any) -> Any:
    """Return a clone with a patch on the weights of a cross-attention, as a LoRA leaves it."""
    clone = model.clone()
    key = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_q.weight"
    clone.add_patches({key: ("diff", (torch.full((128, 128), 0.5),))}, 1.0)
    return clone


def with_v_prediction(model: Any) -> Any:
    return nodes_model_advanced.ModelSamplingDiscrete().patch(model, "v_prediction", False)[0]


@pytest.mark.parametrize("change", [with_lora, with_v_prediction])
def test_a_changed_model_takes_the_identity_before_and_after_the_change(
    official: dict[str, torch.Tensor], tiny_model: Any, identity: Any, change: Any
) -> None:
    def both(model: Any) -> torch.Tensor:
        sides = [conditioning(official, side) for side in SIDES]
        x = noise_of(official, tiny_model, 501)
        return torch.cat(list(predict(model, *sides, x, 501).values()))

    first = both(change(host.apply_adapter(tiny_model, identity)))
    assert torch.equal(first, both(host.apply_adapter(change(tiny_model), identity)))
    assert not torch.equal(first, both(change(tiny_model)))
    assert not torch.equal(first, both(host.apply_adapter(tiny_model, identity)))


def direct(
    model: Any, official: Any, x: torch.Tensor, side: str, **options: Any
) -> tuple[torch.Tensor, Row]:
    """Call the UNet itself with rows of one side; return its output and what went in."""
    rows = x.shape[0]
    y = model.model.encode_adm(
        pooled_output=official[f"in.{side}_pooled"], width=128, height=128
    ).expand(rows, -1)
    row = Row(x, torch.full((rows,), 501.0), official[f"in.{side}"].expand(rows, -1, -1), y, x)
    role = torch.tensor([[float(side == "positive")]] * rows)
    with torch.inference_mode():
        out = model.model.diffusion_model(
            row.x,
            row.timestep,
            context=row.context,
            y=row.y,
            transformer_options={**model.model_options["transformer_options"], **options},
            **{ROLE: role},
        )
    return out, row


@pytest.fixture(scope="module")
def naive(tiny_model: Any, adapter_weights: Any) -> NaiveAdapter:
    return NaiveAdapter(tiny_model, adapter_weights["ip_adapter"])


@pytest.mark.parametrize("latent", [(65, 63), (65, 64), (9, 31)])
@pytest.mark.parametrize("size", [(520, 512), (17, 400)])
def test_a_mask_of_any_size_lies_on_the_real_grid_of_any_latent(
    official: dict[str, torch.Tensor],
    tiny_model: Any,
    identity: Any,
    naive: NaiveAdapter,
    latent: tuple[int, int],
    size: tuple[int, int],
) -> None:
    mask = torch.rand(size, generator=torch.Generator().manual_seed(6))
    model = host.apply_adapter(tiny_model, identity, mask=mask)
    x = torch.randn(1, 4, *latent, generator=torch.Generator().manual_seed(7))
    found, row = direct(model, official, x, "positive")
    wanted = naive.predict(row, official["out.tokens_positive"], mask=mask)
    assert relative_error(found, wanted) < 1e-5


def test_each_picture_of_a_batch_has_its_own_mask_and_a_short_list_starts_over(
    official: dict[str, torch.Tensor], tiny_model: Any, identity: Any, naive: NaiveAdapter
) -> None:
    masks = torch.rand(2, 128, 128, generator=torch.Generator().manual_seed(8))
    model = host.apply_adapter(tiny_model, identity, mask=masks)
    x = official["in.x"].repeat(3, 1, 1, 1)
    found, _ = direct(model, official, x, "positive")
    alone = tiny_model
    for i, frame in enumerate((0, 1, 0)):
        _, row = direct(alone, official, x[i : i + 1], "positive")
        wanted = naive.predict(row, official["out.tokens_positive"], mask=masks[frame])
        assert relative_error(found[i : i + 1], wanted) < 1e-5


def test_a_mask_follows_the_area_of_a_conditioning(
    official: dict[str, torch.Tensor], tiny_model: Any, identity: Any
) -> None:
    whole = torch.zeros(128, 128)
    whole[64:, 32:] = 1.0
    lower = torch.zeros(64, 128)
    lower[:, 32:] = 1.0
    area = conditioning(official, "positive")
    area[0][1].update(area=(8, 16, 8, 0), strength=1.0)
    sides = (area, conditioning(official, "negative"))
    x = noise_of(official, tiny_model, 501)
    found = predict(host.apply_adapter(tiny_model, identity, mask=whole), *sides, x, 501)
    model = host.apply_adapter(tiny_model, identity, mask=lower)
    part, _ = direct(model, official, official["in.x"][:, :, 8:], "positive")
    assert relative_error(found["positive"][:, :, 8:], part) < 1e-5

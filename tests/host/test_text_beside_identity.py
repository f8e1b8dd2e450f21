"""How the identity's share gets to the text's: its length, its kernels, whose tensors it writes."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from comfy.ldm.modules.attention import attention_split, attention_sub_quad
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.attention import to_length
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.weighting import Adding
from torch.nn.functional import linear

from .comparing import relative_error
from .naive_adapter import NaiveAdapter, Row, attention, laid
from .predict import SIDES, conditioning, predict
from .scene import Scene

Official = dict[str, torch.Tensor]
TOLERANCE = 1e-5  # fp32 rounding: rows in other batches
WEIGHT = 0.7
KEEP = {"adding": Adding.KEEP_LENGTH, "weight": WEIGHT}
LOWER_HALF = (8, 16, 8, 0)  # height, width, top, left in latent cells


class KeptLength(NaiveAdapter):
    """text + weight * mask * ip * |text| / |ip| for each person, as plainly as can be."""

    def predict_people(self, row: Row, people: list[tuple[torch.Tensor, Any]]) -> torch.Tensor:
        """people: (1,16,64) tokens and (H,W) mask or None of each."""
        attn2 = {
            slot: functools.partial(self._layer, number, people)
            for slot, number in self.numbers.items()
        }
        with torch.inference_mode():
            return self.unet(
                row.x,
                row.timestep,
                context=row.context,
                y=row.y,
                transformer_options={"patches_replace": {"attn2": attn2}},
            )

    def _layer(
        self,
        number: int,
        people: list[tuple[torch.Tensor, Any]],
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        extra_options: dict[str, Any],
    ) -> torch.Tensor:
        heads, shape = extra_options["n_heads"], extra_options["activations_shape"]
        text = attention(q, k, v, heads)
        out = text.clone()
        for tokens, mask in people:
            face = tokens.to(q).expand(q.shape[0], -1, -1)
            share = attention(
                q,
                linear(face, self.ip_adapter[f"{number}.to_k_ip.weight"].to(q)),
                linear(face, self.ip_adapter[f"{number}.to_v_ip.weight"].to(q)),
                heads,
            )
            within = torch.ones(()) if mask is None else laid(mask, shape[-2], shape[-1])
            for row in range(len(q)):  # each row of the batch has lengths of its own
                own = (within * share[row]).norm()
                if own > 0:
                    longer = (within * text[row]).norm() / own
                    out[row] += (WEIGHT * within * share[row] * longer).reshape(share[row].shape)
        return out


@pytest.fixture
def kept(tiny_model: Any, adapter_weights: Any) -> KeptLength:
    return KeptLength(tiny_model, adapter_weights["ip_adapter"])


def soft(seed: int) -> torch.Tensor:
    return torch.rand(96, 128, generator=torch.Generator().manual_seed(seed))


class TestKeptLength:
    @pytest.mark.parametrize("mask", [None, soft(1)], ids=["everywhere", "soft mask"])
    @pytest.mark.parametrize("batch", [1, 3])
    def test_it_is_the_plain_formula(
        self, scene: Scene, kept: KeptLength, mask: torch.Tensor | None, batch: int
    ) -> None:
        model = scene.recorder.on(host.apply_adapter(scene.bare, scene.identity, mask=mask, **KEEP))
        scene.sample(scene.guider(model), batch)
        assert len(scene.recorder.rows) == 4 * batch
        for row in scene.recorder.rows:
            tokens = scene.official[f"out.tokens_{scene.texts.side_of(row)}"]
            wanted = kept.predict_people(row, [(tokens, mask)])
            assert relative_error(row.out, wanted) < TOLERANCE

    def test_each_person_is_measured_against_the_text_alone(
        self, scene: Scene, kept: KeptLength, second_identity: Any
    ) -> None:
        """Also where they overlap: nobody is measured against what another one added."""
        masks = (soft(2), soft(3))
        model = scene.bare
        for who, mask in zip((scene.identity, second_identity), masks, strict=True):
            model = host.apply_adapter(model, who, mask=mask, **KEEP)
        scene.sample(scene.guider(scene.recorder.on(model)), 2)
        for row in scene.recorder.rows:
            side = scene.texts.side_of(row)
            tokens = [getattr(who, side).tokens for who in (scene.identity, second_identity)]
            wanted = kept.predict_people(row, list(zip(tokens, masks, strict=True)))
            assert relative_error(row.out, wanted) < TOLERANCE

    def test_an_area_is_measured_by_itself(self, scene: Scene, kept: KeptLength) -> None:
        import comfy.samplers

        mask = soft(4)
        model = scene.recorder.on(host.apply_adapter(scene.bare, scene.identity, mask=mask, **KEEP))
        guider = comfy.samplers.CFGGuider(model)
        texts = scene.texts
        positive = texts.make("positive", area=LOWER_HALF, strength=1.0) + texts.make("positive")
        guider.set_conds(positive, texts.make("negative"))
        scene.sample(guider)
        seen = set()
        for row in scene.recorder.rows:
            part = mask[48:] if row.x.shape[-2] == 8 else mask
            tokens = scene.official[f"out.tokens_{texts.side_of(row)}"]
            assert relative_error(row.out, kept.predict_people(row, [(tokens, part)])) < TOLERANCE
            seen.add(row.x.shape[-2])
        assert seen == {8, 16}

    def test_plain_is_what_it_was_and_a_word_that_is_none_is_refused(
        self, official: Official, tiny_model: Any, identity: Any
    ) -> None:
        texts = [conditioning(official, side) for side in SIDES]
        x = torch.randn(2, 4, 24, 16, generator=torch.Generator().manual_seed(1)) * 5
        before = predict(host.apply_adapter(tiny_model, identity, weight=WEIGHT), *texts, x, 501)
        plain = host.apply_adapter(tiny_model, identity, weight=WEIGHT, adding=Adding("plain"))
        longer = host.apply_adapter(tiny_model, identity, **KEEP)
        for side, found in predict(plain, *texts, x, 501).items():
            assert torch.equal(found, before[side])
            assert not torch.equal(predict(longer, *texts, x, 501)[side], found)
        with pytest.raises(WrongInputError, match="keep length"):
            Adding("norm")

    def test_nothing_stays_nothing_and_rows_are_measured_one_by_one(self) -> None:
        x = torch.stack([torch.zeros(5, 4), torch.ones(5, 4), 4 * torch.ones(5, 4)])
        wanted = torch.stack([torch.ones(5, 4), 3 * torch.ones(5, 4), torch.zeros(5, 4)])
        assert to_length(wanted, x).flatten().tolist() == [0.0, 3.0, 0.0]
        half = to_length(torch.full((1, 4096, 64), 6e4).half(), torch.ones(1, 4096, 64).half())
        assert half.dtype == torch.float16 and half.item() == pytest.approx(6e4, rel=1e-3)


def with_override(model: Any, override: Any) -> Any:
    clone = model.clone()
    clone.model_options["transformer_options"]["optimized_attention_override"] = override
    return clone


class TestAttentionOfOthers:
    def predicted(self, official: Official, model: Any) -> Mapping[str, torch.Tensor]:
        texts = [conditioning(official, side) for side in SIDES]
        x = torch.randn(2, 4, 24, 16, generator=torch.Generator().manual_seed(2)) * 5
        return predict(model, *texts, x, 501)

    def test_few_tokens_are_asked_for_without_kernels_of_low_precision(
        self, official: Official, tiny_model: Any, identity: Any
    ) -> None:
        asked: dict[int, set[Any]] = {}

        def look(attend: Any, q: Any, k: Any, *args: Any, **kwargs: Any) -> Any:
            asked.setdefault(k.shape[1], set()).add(kwargs.get("low_precision_attention"))
            return attend(q, k, *args, **kwargs)

        model = with_override(host.apply_adapter(tiny_model, identity), look)
        self.predicted(official, model)
        assert asked.pop(16) == {False}  # the face's tokens
        assert asked and all(words == {None} for words in asked.values())

    @pytest.mark.parametrize("kernel", [attention_split, attention_sub_quad, "sage"])
    def test_other_kernels_give_the_same_picture(
        self, official: Official, tiny_model: Any, identity: Any, kernel: Any
    ) -> None:
        """sage: a stub that is rough unless it is asked not to be, as ComfyUI's is."""

        def use(attend: Any, q: Any, k: Any, v: Any, heads: int, **kwargs: Any) -> Any:
            if kernel != "sage":
                return kernel(q, k, v, heads, **kwargs)
            exact = kwargs.get("low_precision_attention") is False
            out = attend(q, k, v, heads, **kwargs)
            return out if exact or k.shape[1] != 16 else out.round(decimals=1)

        model = host.apply_adapter(tiny_model, identity)
        wanted = self.predicted(official, model)
        found = self.predicted(official, with_override(model, use))
        for side in SIDES:
            assert relative_error(found[side], wanted[side]) < TOLERANCE

    def test_what_an_override_hands_out_is_not_written_to(
        self, official: Official, tiny_model: Any, identity: Any
    ) -> None:
        handed_out: list[tuple[torch.Tensor, torch.Tensor]] = []

        def keep(attend: Any, *args: Any, **kwargs: Any) -> Any:
            out = attend(*args, **kwargs)
            handed_out.append((out, out.clone()))
            return out

        self.predicted(official, with_override(host.apply_adapter(tiny_model, identity), keep))
        assert len(handed_out) > 140
        assert all(torch.equal(out, as_it_was) for out, as_it_was in handed_out)

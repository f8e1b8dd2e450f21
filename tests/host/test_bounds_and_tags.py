"""The moment a window opens and the moment it closes belong to it; a role that is told stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.samplers
import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.fitting import place, standard_face
from faithful_instantid.instantid_core.host import rows

from .comparing import relative_error
from .predict import SIDES, conditioning, predict

Official = dict[str, torch.Tensor]
MOMENT = 0.3  # percent of the sampling


def texts(official: Official) -> list[list[Any]]:
    return [conditioning(official, side) for side in SIDES]


def at_the_moment(model: Any, conds: list[Any]) -> torch.Tensor:
    """Return one step of Euler that begins exactly at MOMENT, and ends the sampling."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(*conds)
    guider.set_cfg(3.0)
    sigma = model.get_model_object("model_sampling").percent_to_sigma(MOMENT)
    noise = torch.randn(2, 4, 24, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return guider.sample(
            noise,
            torch.zeros_like(noise),
            comfy.samplers.sampler_object("euler"),
            torch.tensor([sigma, 0.0]),
        )


@pytest.mark.parametrize("window", [(MOMENT, 1.0), (0.0, MOMENT)], ids=["opens", "closes"])
@pytest.mark.parametrize("half", ["adapter", "IdentityNet"])
def test_a_window_is_open_at_its_bounds(
    official: Official,
    tiny_model: Any,
    make_controlnet: Callable[[str], Any],
    identity: Any,
    half: str,
    window: tuple[float, float],
) -> None:
    face = place(standard_face(), 128, 192, 0.5, 0.4, 0.5)
    given = (make_controlnet("identitynet"), identity, face)

    def made(start: float, end: float) -> tuple[Any, list[Any]]:
        settings = {"start_percent": start, "end_percent": end}
        if half == "adapter":
            return host.apply_adapter(tiny_model, identity, **settings), texts(official)
        return tiny_model, list(host.apply_identitynet(*texts(official), *given, **settings))

    found = at_the_moment(*made(*window))
    assert torch.equal(found, at_the_moment(*made(0.0, 1.0)))
    assert not torch.equal(found, at_the_moment(tiny_model, texts(official)))


def test_a_conditioning_that_was_told_to_be_negative_stays_so_on_another_input(
    official: Official, tiny_model: Any, make_controlnet: Callable[[str], Any], identity: Any
) -> None:
    """As where a guider of another pack gets the negative of one node through a second one."""
    net = make_controlnet("identitynet")
    face = place(standard_face(), 128, 192, 0.5, 0.4, 0.5)
    positive, negative = texts(official)
    _, first = host.apply_identitynet(positive, negative, net, identity, face, strength=0.5)
    again, other = host.apply_identitynet(first, positive, net, identity, face, strength=0.5)
    assert rows.role_of(again[0][1]) == rows.NEGATIVE
    assert rows.role_of(other[0][1]) == rows.NEGATIVE
    assert rows.role_of(first[0][1]) == rows.NEGATIVE
    x = torch.randn(2, 4, 24, 16, generator=torch.Generator().manual_seed(2)) * 5

    class Unnamed(comfy.samplers.CFGGuider):
        """Knows no positive and negative; what its conditionings are, only their tags say."""

        def set_conds(self, one: Any, two: Any) -> None:
            self.inner_set_conds({"one": one, "two": two})

        def predict_noise(
            self, x: Any, timestep: Any, model_options: Any = None, seed: Any = None
        ) -> Any:
            conds = [self.conds["one"], self.conds["two"]]
            one, two = comfy.samplers.calc_cond_batch(
                self.inner_model, conds, x, timestep, model_options
            )
            return torch.cat([one, two])[: len(x)]

    guider = Unnamed(host.apply_adapter(tiny_model, identity))
    guider.set_conds(again, other)
    model_sampling = tiny_model.get_model_object("model_sampling")
    sigmas = torch.stack([model_sampling.sigmas[501], torch.zeros(())])
    with torch.inference_mode():
        found = guider.sample(
            x / sigmas[0], torch.zeros_like(x), comfy.samplers.sampler_object("euler"), sigmas
        )
    model = host.apply_adapter(tiny_model, identity)
    wanted = x - sigmas[0] * predict(model, positive, again, x, 501)["negative"]
    assert relative_error(tiny_model.model.process_latent_in(found), wanted) < 1e-5

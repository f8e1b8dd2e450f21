"""Layer weights and weight curves: what they hold, what they refuse, what they look like."""

from __future__ import annotations

import numpy as np
import pytest
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.plots import plot_curve, plot_layers
from faithful_instantid.instantid_core.weighting import (
    EASES,
    LayerWeights,
    PercentTable,
    WeightCurve,
    eased,
    parse_curve,
    slot_weights,
)


def test_no_layer_weights_are_the_plain_constant() -> None:
    assert slot_weights(0.8, None) == (0.8,) * 70
    assert slot_weights(0.8, LayerWeights.of_parts(1, 1, 1)) == (0.8,) * 70


@pytest.mark.parametrize("ease", EASES)
def test_a_curve_begins_and_ends_where_it_is_told(ease: str) -> None:
    curve = eased(ease, 0.25, 1.5)
    assert curve.at(0.0) == 0.25
    assert curve.at(1.0) == 1.5
    values = [curve.at(i / 100) for i in range(101)]
    assert values == sorted(values)


def test_eases_differ_in_where_they_are_slow() -> None:
    middle = {ease: eased(ease, 0.0, 1.0).at(0.25) for ease in EASES}
    assert middle["ease_in"] < middle["ease_in_out"] < middle["linear"] < middle["ease_out"]


def test_written_points_are_joined_by_straight_lines() -> None:
    curve = parse_curve("0.2:1, 0.6:0.5; 1:0")
    assert [curve.at(p) for p in (0.0, 0.2, 0.4, 0.8, 1.0)] == pytest.approx([1, 1, 0.75, 0.25, 0])
    step = parse_curve("0:1, 0.5:1, 0.5:0")
    assert (step.at(0.49), step.at(0.51)) == (1, 0)


@pytest.mark.parametrize("text", ["", "0:1, 0.5", "1:0, 0:1", "0:nan", "-0.1:1, 1:0", "0:1, 1.5:0"])
def test_a_curve_that_makes_no_sense_gets_a_sentence(text: str) -> None:
    with pytest.raises(WrongInputError, match="The weight curve is .* Wanted: points as share"):
        parse_curve(text)


def test_words_instead_of_numbers_get_a_sentence() -> None:
    with pytest.raises(WrongInputError, match="Write numbers such as 1 or 0.5 only"):
        parse_curve("begin:one")
    with pytest.raises(WrongInputError, match="Write numbers such as 1 or 0.5 only"):
        LayerWeights.parsed("a,b")


def test_noise_levels_lead_back_to_their_percent_of_the_sampling() -> None:
    table = PercentTable(
        lambda percent: float("inf") if percent == 0 else 14.6 * (1 - percent) ** 3
    )
    for percent in (0.1, 0.5, 0.93):
        assert table.percent(14.6 * (1 - percent) ** 3) == pytest.approx(percent, abs=2e-3)
    assert table.percent(1e9) == pytest.approx(0.0, abs=5e-3)
    assert table.percent(0.0) == 1.0


def test_the_plots_show_the_weights() -> None:
    ones = plot_layers(LayerWeights.of_parts(1, 1, 1))
    less = plot_layers(LayerWeights.of_parts(1, 0, 0.5))
    blue = (96, 176, 255)

    def ink(picture: np.ndarray) -> int:
        return int((picture == blue).all(axis=2).sum())

    assert ones.shape == (256, 512, 3)
    assert ink(less) < ink(ones)
    assert ink(plot_curve(WeightCurve(((0.0, 1.0), (1.0, 0.0))))) > 300

"""The numbers of quality.py, with answers that are known beforehand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from faithful_instantid.devtools.likeness_bench import metrics
from faithful_instantid.devtools.likeness_bench.metrics import Embedding, Score

REFERENCE = np.array([3, 0, 0], np.float32)
HELD_OUT = np.array([0.6, 0.8, 0], np.float32)  # cosine 0.6 to it


def turned(degrees: float) -> Embedding:
    """Return a vector so many degrees from the reference, towards the held-out one."""
    angle = math.radians(degrees)
    return np.array([math.cos(angle), math.sin(angle), 0], np.float32) * 7


def score(setting: str = "a", faces: int = 1, seconds: float = 1.0, **measured: float) -> Score:
    return Score(setting, "ann", "clothes", 1, faces, seconds, **measured)


def test_likeness_is_the_cosine_whatever_the_length() -> None:
    assert metrics.cosine(REFERENCE, 100 * HELD_OUT) == pytest.approx(0.6, abs=1e-7)
    assert metrics.cosine(REFERENCE, REFERENCE * 1e-3) == 1
    assert metrics.angle(REFERENCE, -REFERENCE) == pytest.approx(math.pi)
    with pytest.raises(ValueError, match="zeros has no direction"):
        metrics.cosine(REFERENCE, np.zeros(3, np.float32))


def test_a_copied_reference_scores_1_and_the_held_out_photo_itself_minus_1() -> None:
    assert metrics.copy_paste(2 * REFERENCE, REFERENCE, HELD_OUT) == pytest.approx(1)
    assert metrics.copy_paste(2 * HELD_OUT, REFERENCE, HELD_OUT) == pytest.approx(-1)


def test_a_picture_as_like_the_one_photo_as_the_other_scores_0() -> None:
    half = math.degrees(math.acos(0.6)) / 2
    assert metrics.copy_paste(turned(half), REFERENCE, HELD_OUT) == pytest.approx(0, abs=1e-6)
    quarter = metrics.copy_paste(turned(half / 2), REFERENCE, HELD_OUT)
    assert quarter == pytest.approx(0.5, abs=1e-6)
    apart = metrics.copy_paste(np.array([0, 0, 1], np.float32), REFERENCE, HELD_OUT)
    assert apart == pytest.approx(0, abs=1e-6)  # like neither


def test_no_picture_scores_above_1_or_below_minus_1() -> None:
    random = np.random.default_rng(3)
    triples = random.normal(size=(500, 3, 128)).astype(np.float32)
    found = [metrics.copy_paste(*triple) for triple in triples]
    assert max(map(abs, found)) <= 1 + 1e-9
    assert np.std(found) > 0.01


def test_one_photo_twice_has_no_copy_paste_score() -> None:
    with pytest.raises(ValueError, match="the same photo"):
        metrics.copy_paste(HELD_OUT, REFERENCE, 2 * REFERENCE)


def test_the_lines_are_two_photos_own_similarity_and_that_of_strangers() -> None:
    right = np.array([0, 0, 1], np.float32)
    lines = metrics.lines_of(
        {
            "ann": (REFERENCE, [HELD_OUT, REFERENCE]),  # mean 0.8
            "bob": (right, [-right]),  # -1
            "eve": (HELD_OUT, []),
        }
    )
    assert lines.same == pytest.approx((0.8 - 1) / 2, abs=1e-7)
    assert lines.strangers == pytest.approx((0 + 0.6 + 0) / 3, abs=1e-7)
    alone = metrics.lines_of({"eve": (HELD_OUT, [])})
    assert (alone.same, alone.strangers) == (None, None)


def test_a_setting_is_the_mean_of_what_could_be_measured() -> None:
    scores = [
        score(to_reference=0.5, share=0.25, seconds=9.0),
        score(to_reference=0.9, share=0.35, seconds=2.0),
        score(faces=0, seconds=3.0),
    ]
    found = metrics.summarise("a", scores)
    assert found.no_face == pytest.approx(1 / 3)
    assert (found.pictures, found.seconds) == (3, 3.0)  # the median
    assert set(found.means) == {"to_reference", "share"}
    likeness = found.means["to_reference"]
    assert (likeness.value, likeness.count) == (pytest.approx(0.7), 2)
    # Deviations of 0.2 over n - 1 = 1: 0.2 * sqrt(2), over sqrt(2) pictures.
    assert likeness.error == pytest.approx(0.2)


def test_one_value_has_no_error_and_none_no_mean() -> None:
    found = metrics.summarise("a", [score(text=0.3)])
    assert found.means["text"] == metrics.Mean(0.3, None, 1)
    assert metrics.mean([None, None]) is None

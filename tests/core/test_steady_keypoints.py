"""Steady Keypoints on points of which the truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.faces.steady import SMOOTHINGS, Steadying, steady
from faithful_instantid.instantid_core.fitting import place, standard_face, transform
from faithful_instantid.instantid_core.head import Turning
from faithful_instantid.instantid_core.keypoints import FacePoints, Keypoints

(FACE,) = place(standard_face(), 640, 360, 0.4, 0.5, 0.5).faces
SMOOTHED = [way for way in SMOOTHINGS if way != "none"]
Frame = tuple[FacePoints, ...]


def moved(x: float, y: float = 0.0, track: int | None = 0) -> FacePoints:
    shift = np.array([x, y], np.float32)
    box = FACE.box + np.tile(shift, 2)
    return replace(FACE, kps=FACE.kps + shift, box=box, track=track)


def video(*frames: Frame, cuts: tuple[int, ...] = ()) -> Keypoints:
    return Keypoints(640, 360, frames, cuts)


def points(keypoints: Keypoints) -> np.ndarray:
    """(F, 14): points and box of the one face of every frame."""
    return np.array([[*f.kps.ravel(), *f.box] for (f,) in keypoints.frames])


def shaken(frames: list[Frame], pixels: float) -> list[Frame]:
    random = np.random.default_rng(7)

    def shake(face: FacePoints) -> FacePoints:
        kps = face.kps + random.normal(0, pixels, (5, 2)).astype(np.float32)
        return replace(face, kps=kps, box=face.box + random.normal(0, pixels, 4).astype("f4"))

    return [tuple(shake(face) for face in frame) for frame in frames]


@pytest.mark.parametrize("smoothing", SMOOTHED)
def test_a_resting_face_shivers_seven_tenths_less(smoothing: str) -> None:
    frames = shaken([(moved(0),)] * 120, 1.5)
    before = points(video(*frames))
    after = points(steady(video(*frames), Steadying(smoothing)))
    truth = np.array([*FACE.kps.ravel(), *FACE.box])
    for jitter in (lambda x: x - truth, lambda x: np.diff(x, axis=0)):
        left = np.sqrt((jitter(after) ** 2).mean(axis=0) / (jitter(before) ** 2).mean(axis=0))
        assert left.mean() < 0.3 and left.max() < 0.4


@pytest.mark.parametrize("smoothing", SMOOTHED)
def test_a_moving_face_lags_at_most_a_frame(smoothing: str) -> None:
    """It nods and sways as people do, a turn in two seconds; shaken as a detector shakes."""
    turn = 2 * np.pi * np.arange(150) / 50
    way = [(90 * np.sin(a), 20 * np.cos(a)) for a in turn]
    clean = points(video(*[(moved(*xy),) for xy in way]))
    frames = shaken([(moved(*xy),) for xy in way], 1.5)
    after = points(steady(video(*frames), Steadying(smoothing)))

    def off(lag: int) -> float:
        return float(np.abs(after[30 + lag : 120 + lag, 0] - clean[30:120, 0]).mean())

    assert min(range(-4, 5), key=off) in (-1, 0, 1)
    fastest = np.abs(np.diff(clean[:, 0])).max()
    assert np.abs(after[30:120, 0] - clean[30:120, 0]).max() < 1.0 * fastest


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_nothing_of_one_side_of_a_cut_reaches_the_other(smoothing: str) -> None:
    """What lies on one side is the same to the bit, whatever lies on the other."""
    left = shaken([(moved(n),) for n in range(20)], 2.0)
    right, other = ([(moved(200 - n, y),) for n in range(14)] for y in (20, -60))
    how = Steadying(smoothing, longest_gap=50)
    one, two = (steady(video(*left, *side, cuts=(20,)), how) for side in (right, other))
    assert np.array_equal(points(one)[:20], points(two)[:20])
    alone = points(steady(video(*right), how))
    assert np.array_equal(points(one)[20:], alone)
    listed = steady(video(*left, *right), replace(how, cuts=(20,)))
    assert np.array_equal(points(listed), points(one)) and listed.cuts == (20,)


def gapped(*missing: int, count: int = 30) -> Keypoints:
    return video(*[() if n in missing else (moved(4 * n),) for n in range(count)])


def filled(keypoints: Keypoints) -> list[float | None]:
    """Return how far each frame's face was moved, None without one."""
    return [
        None if not frame else float(frame[0].kps[0, 0] - FACE.kps[0, 0])
        for frame in keypoints.frames
    ]


def test_gaps_are_interpolated_held_or_left_blank() -> None:
    given = gapped(0, 1, 10, 11, 12, 29)
    for gaps, expected in (
        ("interpolate", [8, 8, *range(8, 116, 4), 112]),
        ("hold", [8, 8, *range(8, 40, 4), 36, 36, 36, *range(52, 116, 4), 112]),
    ):
        made = filled(steady(given, Steadying("none", gaps=gaps)))
        assert made == pytest.approx(expected, abs=1e-3), gaps
    blank = filled(steady(given, Steadying("savitzky_golay", gaps="blank")))
    assert [n for n, x in enumerate(blank) if x is None] == [0, 1, 10, 11, 12, 29]


def test_a_gap_longer_than_the_limit_stays_and_divides() -> None:
    given = gapped(*range(10, 15), 20, 21)
    savgol = Steadying("savitzky_golay", longest_gap=4)  # leaves straight ways as they are
    made = steady(given, savgol)
    assert [n for n, x in enumerate(filled(made)) if x is None] == list(range(10, 15))
    before = [*given.frames[:10], *[()] * 20]
    other = steady(video(*before), savgol)
    assert np.array_equal(made.frames[4][0].kps, other.frames[4][0].kps)
    together = filled(steady(given, replace(savgol, longest_gap=5)))
    assert together == pytest.approx([4 * n for n in range(30)], abs=1e-3)
    late = filled(steady(gapped(*range(6)), Steadying(longest_gap=5)))
    assert late[:6] == [None] * 6 and late[6] is not None


def test_each_person_is_smoothed_alone_whatever_their_order() -> None:
    """Two who change their order in the frames; one of them is missing at times."""
    one = shaken([(moved(3 * n, -40, track=4),) for n in range(24)], 1.0)
    two = shaken([(moved(90 - 3 * n, 60, track=9),) for n in range(24)], 1.0)
    two[7] = ()
    both = [b + a if n % 2 else a + b for n, (a, b) in enumerate(zip(one, two, strict=True))]
    made = steady(video(*both), Steadying())
    assert [tuple(face.track for face in frame) for frame in made.frames] == [(4, 9)] * 24
    for place_, alone in enumerate((one, two)):
        expected = points(steady(video(*alone), Steadying()))
        found = [[*f[place_].kps.ravel(), *f[place_].box] for f in made.frames]
        assert np.array_equal(found, expected)


def test_faces_that_nobody_followed_go_by_overlap() -> None:
    """A face that jumps where another one is, is another one: nothing is smoothed across."""
    near = [(moved(n, track=None),) for n in range(15)]
    far = [(moved(300 + n, track=None),) for n in range(15)]
    made = steady(video(*near, *far), Steadying("savitzky_golay", longest_gap=0))
    assert filled(made) == pytest.approx([*range(15), *range(300, 315)], abs=1e-3)
    assert [frame[0].track for frame in made.frames] == [0] * 15 + [1] * 15
    passing = [*near[:6], *far[:2], *near[8:]]  # somebody else for two frames, and at the end
    passing[-1] = far[0]
    shown = steady(video(*passing), Steadying("none")).frames
    assert [len(frame) for frame in shown] == [1] * 15  # nobody is put beside them
    alone = steady(video(*near[:6], (), *near[7:14], ()), Steadying("none")).frames
    assert [len(frame) for frame in alone] == [1] * 15
    several = [(moved(300, track=None), moved(n, track=None)) for n in range(12)]
    tracks = [[face.track for face in f] for f in steady(video(*several), Steadying()).frames]
    assert tracks == [[0, 1]] * 12


def test_none_and_short_videos_leave_points_as_they_are() -> None:
    frames = shaken([(moved(n),) for n in range(12)], 3.0)
    assert np.array_equal(points(steady(video(*frames), Steadying("none"))), points(video(*frames)))
    for how in (Steadying(window=1), Steadying()):
        some = frames if how.window == 1 else frames[:2]
        assert np.array_equal(points(steady(video(*some), how)), points(video(*some)))
    assert steady(video((), ()), Steadying()).frames == ((), ())


def test_tracks_and_cuts_are_kept_by_what_moves_keypoints() -> None:
    given = video((moved(0, track=3),), (moved(5, track=3),), cuts=(1,))
    turned = transform(given, mirror=True, scale=1.2, rotate=5, turning=Turning(10, 5))
    for made in (turned, steady(given, Steadying())):
        assert [face.track for face in made.faces] == [3, 3] and made.cuts == (1,)


def test_what_cannot_be_done_is_said() -> None:
    for way, text in (
        (("median", 9, "hold", 4, ""), "smoothing is 'median'; wanted one of: one_euro"),
        (("none", 9, "fill", 4, ""), "gaps is 'fill'; wanted one of: interpolate, hold, blank"),
        (("none", 9, "hold", 4, "x"), "The list of frames is 'x'"),
        (("none", float("nan"), "hold", 4, ""), "window is nan"),
        (("none", 9, "hold", "many", ""), "longest_gap is 'many'"),
    ):
        with pytest.raises(WrongInputError, match=text):
            Steadying.checked(*way)

"""Which faces of a video are one person, on made sightings of which everything is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from faithful_instantid.instantid_core.faces.tracks import ONE_PERSON, Sighting, Track, link
from faithful_instantid.instantid_core.keypoints import FacePoints

FRAMES = 24
STEP = 20.0  # pixels that the face moves from frame to frame: a third of its box stays covered
HIDDEN = (6, 7, 8)


def sighting(x: float, cosine: float = 1.0, y: float = 30.0) -> Sighting:
    """A face of 40 x 60 pixels; cosine: how alike it is to one of cosine 1."""
    embedding = np.zeros(512, np.float32)
    embedding[:2] = cosine, (1 - cosine**2) ** 0.5
    kps = np.full((5, 2), x + 20, np.float32)
    return Sighting(FacePoints(kps, np.array([x, y, x + 40, y + 60], np.float32)), embedding)


def runner(cosine: float) -> list[Sequence[Sighting]]:
    """A fast face that is hidden for three frames; afterwards it looks less like before."""
    return [
        () if n in HIDDEN else (sighting(STEP * n, 1.0 if n < HIDDEN[0] else cosine),)
        for n in range(FRAMES)
    ]


def spans(tracks: Sequence[Track]) -> list[tuple[int, int]]:
    return [(track.first, track.last) for track in tracks]


@pytest.mark.parametrize(
    ("cosine", "cuts", "wanted"),
    [
        (0.2, (), [(0, 23)]),  # not alike enough by itself: its place speaks for it
        (0.2, (20,), [(0, 23)]),  # a later cut says nothing of frame 9; then it goes on by likeness
        (0.2, (8,), [(0, 5), (9, 23)]),  # behind a cut no place says anything
        (0.05, (), [(0, 5), (9, 23)]),  # at its place, but somebody else
        (0.5, (8,), [(0, 23)]),
    ],
)
def test_a_face_that_was_hidden_is_found_again_where_it_would_have_gone(
    cosine: float, cuts: tuple[int, ...], wanted: list[tuple[int, int]]
) -> None:
    assert spans(link(runner(cosine), cuts, ONE_PERSON)) == wanted


def test_two_who_look_the_same_in_the_same_frames_are_two() -> None:
    frames = [(sighting(10 + n), sighting(300 - n)) for n in range(FRAMES)]
    tracks = link(frames, (), ONE_PERSON)
    assert spans(tracks) == [(0, 23), (0, 23)]
    assert [track.sightings[23].face.box[0] for track in tracks] == [33, 277]
    late = [pair if 4 < n < 20 else pair[:1] for n, pair in enumerate(frames)]
    assert spans(link(late, (), ONE_PERSON)) == [(0, 23), (5, 19)]

"""Whose face is whose: the faces of a picture in an order, dealt to the people of a list."""

from __future__ import annotations

import numpy as np
import pytest
from faithful_instantid.instantid_core.keypoints import FacePoints, Keypoints
from faithful_instantid.instantid_core.people import choose_faces

# left, top, right, bottom: by width flat is the largest, by area the one at the rim the smallest.
FLAT, TALL, WIDE = (500, 120, 800, 150), (30, 100, 130, 400), (510, 90, 700, 270)
RIM = (200, 5, 260, 80)


def found(order: str, index: int, place: int) -> tuple[float, ...]:
    faces = tuple(
        FacePoints(np.zeros((5, 2), np.float32), np.array(box, np.float32))
        for box in (WIDE, RIM, FLAT, TALL)
    )
    (frame,) = choose_faces(Keypoints(1024, 768, (faces,)), order, index, place).frames
    return tuple(frame[0].box.tolist())


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("left_to_right", [TALL, RIM, WIDE, FLAT]),
        ("top_to_bottom", [RIM, FLAT, WIDE, TALL]),
        ("largest", [WIDE, TALL, FLAT, RIM]),
    ],
)
def test_faces_are_dealt_in_the_order_by_number_and_by_the_place_in_the_list(
    order: str, wanted: list[tuple[float, ...]]
) -> None:
    assert [found(order, number, 1) for number in range(4)] == wanted
    assert [found(order, -1, place) for place in range(4)] == wanted

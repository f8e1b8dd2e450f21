"""The editor's text: what it says is where the faces are, and what it cannot say is told."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from faithful_instantid.instantid_core.editing import (
    LONGEST,
    MOST_FACES,
    edited,
    for_editor,
    parse,
    source_of,
    written,
)
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.fitting import fit, place, standard_face, transform
from faithful_instantid.instantid_core.head import face_of
from faithful_instantid.instantid_core.keypoints import Keypoints
from faithful_instantid.instantid_core.log import listening

POINTS = [[420.5, 380], [604.5, 380], [512, 480], [440, 590], [585, 590]]
PHOTO = place(standard_face(), 600, 400, 0.3, 0.5, 0.6)


def text(**changes: Any) -> str:
    state = {
        "version": 1, "width": 1024, "height": 768, "source": None, "faces": [{"points": POINTS}],
    }  # fmt: skip
    return json.dumps({**state, **changes})


def with_point(value: str) -> str:
    return text().replace("420.5", value)


def test_an_edit_is_where_it_says_whatever_comes_in() -> None:
    for incoming in (None, PHOTO):
        made = edited(text(), 1024, 768, incoming)
        assert (made.width, made.height, len(made.frames)) == (1024, 768, 1)
        (face,) = made.faces
        assert np.array_equal(face.kps, np.float32(POINTS))
        assert np.array_equal(face.box, face_of(POINTS).box)


def test_what_is_written_is_read_again_in_its_order() -> None:
    faces = [face_of(POINTS), face_of(np.array(POINTS) + [-900, 40]), face_of(np.array(POINTS) / 2)]
    edit = parse(written(faces, 832, 1216, "1a2b3c4d"))
    assert edit is not None and edit.source == "1a2b3c4d"
    assert (edit.keypoints.width, edit.keypoints.height) == (832, 1216)
    for face, other in zip(edit.keypoints.faces, faces, strict=True):
        assert np.allclose(face.kps, other.kps, atol=0.005)


def test_an_empty_text_lets_everything_pass_and_entries_of_others_are_left_alone() -> None:
    video = Keypoints(600, 400, (PHOTO.frames[0], (), PHOTO.frames[0]))
    for empty in ("", "  \n"):
        assert parse(empty) is None
        assert edited(empty, 832, 1216, video) is video
    assert len(edited(text(zoom=2, note="x"), 1024, 768).faces) == 1


def test_with_nothing_at_all_it_is_a_standard_face_and_says_so() -> None:
    with listening() as heard:
        made = edited("", 832, 1216)
    assert np.array_equal(made.faces[0].kps, standard_face(832, 1216).faces[0].kps)
    (said,) = heard.problems
    assert said.startswith("Nothing was edited and no keypoints came in: this is a standard face.")


def test_an_edit_without_faces_is_a_picture_without_a_face() -> None:
    with listening() as heard:
        assert edited(text(faces=[]), 640, 640, PHOTO).frames == ((),)
    assert heard.found == ["no face"]


def test_an_edit_of_another_canvas_is_fitted_as_a_photo_is() -> None:
    edit = parse(text())
    assert edit is not None
    wanted = fit(edit.keypoints, 512, 1024)
    made = edited(text(), 512, 1024)
    assert (made.width, made.height) == (512, 1024)
    assert np.array_equal(made.faces[0].kps, wanted.faces[0].kps)
    assert not np.allclose(made.faces[0].kps, np.float32(POINTS), atol=20)


def test_an_edit_made_from_other_faces_stays_and_says_so() -> None:
    own = source_of(PHOTO)
    for source, begin in ((own, None), ("0000abcd", "from other"), (None, "without")):
        with listening() as heard:
            made = edited(text(source=source), 1024, 768, PHOTO)
        assert np.array_equal(made.faces[0].kps, np.float32(POINTS))
        assert len(heard.problems) == (begin is not None)
        for said in heard.problems:
            assert said.startswith(f"The edit was made {begin} keypoints, not from those that")
    with listening() as heard:
        edited(text(source="0000abcd"), 1024, 768)
    assert heard.problems == []


def test_the_source_is_of_the_first_frames_points_and_picture_and_of_nothing_else() -> None:
    moved = transform(PHOTO, move_x=0.001)
    others = [moved, Keypoints(601, 400, PHOTO.frames), Keypoints(600, 400, ((),))]
    codes = [source_of(one) for one in (PHOTO, *others)]
    assert len(set(codes)) == 4
    assert all(len(code) == 8 and int(code, 16) >= 0 for code in codes)
    assert source_of(Keypoints(600, 400, (*PHOTO.frames, *moved.frames))) == codes[0]


def test_a_source_is_known_to_a_tenth_of_a_pixel() -> None:
    whole = np.float32(np.round(POINTS))
    codes = [
        source_of(Keypoints(600, 400, ((face_of(whole + shift),),))) for shift in (0, 0.02, 0.2)
    ]
    assert codes[0] == codes[1] != codes[2]


def test_the_editor_is_told_what_came_in_and_how_the_photo_lies_on_the_canvas() -> None:
    told = for_editor(512, 768, PHOTO)
    fitted = fit(PHOTO, 512, 768)
    assert (told["width"], told["height"], told["source"]) == (512, 768, source_of(PHOTO))
    assert np.allclose(told["faces"], [fitted.faces[0].kps], atol=0.01)
    photo = told["photo"]
    assert (photo["width"], photo["height"]) == (600, 400)
    laid = PHOTO.faces[0].kps * photo["scale"] + photo["offset"]
    assert np.allclose(laid, fitted.faces[0].kps, atol=0.01)
    assert json.loads(json.dumps(told)) == told
    alone = for_editor(512, 768, None)
    assert alone["source"] is alone["photo"] is None
    assert np.allclose(alone["faces"], [standard_face(512, 768).faces[0].kps], atol=0.01)


def test_which_way_the_faces_look_is_said() -> None:
    many = [{"points": (np.array(POINTS) + shift).tolist()} for shift in range(9)]
    with listening() as heard:
        edited(text(faces=many), 1024, 768)
    assert heard.found[0].startswith("face 0: yaw 0, pitch ")
    assert heard.found[4:] == ["and 5 more faces"]
    with listening() as heard:
        edited(text(faces=many[:4]), 1024, 768)
    assert len(heard.found) == 4


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{", "is no JSON (JSONDecodeError: "),
        ("[" * 100_000, "is no JSON (RecursionError: "),
        ("[1]", "is a list in JSON; wanted an object with `faces`"),
        (text(version=2), "is of version 2; this pack reads version 1. A newer editor"),
        (text(version=True), "is of version True; this pack reads"),
        ('{"faces": []}', "is of version nothing; this pack reads"),
        (text(width=0), "has 0 as `width`; wanted pixels, 1 to 16384"),
        (text(width=16385), "has 16385 as `width`; wanted pixels, 1 to 16384"),
        (text(height=7.5), "has 7.5 as `height`; wanted pixels"),
        (text(height=True), "has True as `height`; wanted pixels"),
        (text(source=7), "has a number as `source`; wanted a text or null"),
        (text(faces=None), "has nothing as `faces`; wanted a list"),
        (text(faces=[{}] * 10_000), "has 10,000 faces; at most 100 can be edited"),
        (text(faces=[3]), "has a face 0 without five points of x and y"),
        (text(faces=[{"points": POINTS}, {"points": POINTS[:4]}]), "has a face 1 without five"),
        (text(faces=[{"points": [*POINTS[:4], [1, 2, 3]]}]), "has a face 0 without five"),
        (with_point("NaN"), "holds NaN; wanted ordinary numbers"),
        (with_point("-Infinity"), "holds -Infinity; wanted ordinary numbers"),
        (with_point("1e999"), "has a point of face 0 at inf; wanted at most 1,000,000 pixels off"),
        (with_point("-1000001"), "has a point of face 0 at -1000001; wanted at most"),
        (with_point("9" * 400), "has a point of face 0 at 9999"),
        (with_point('"4"'), "has '4' in face 0 where a number is wanted"),
        (with_point("true"), "has True in face 0 where a number is wanted"),
        (with_point("9" * 5000), "is no JSON (ValueError: Exceeds the limit"),
        (" " + "x" * LONGEST, f"has {LONGEST + 1:,} characters; at most {LONGEST:,} are read"),
    ],
    ids=range(25),
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_what_to_do(bad: str, said: str) -> None:
    with pytest.raises(WrongInputError) as caught:
        edited(bad, 1024, 768, PHOTO)
    message = str(caught.value)
    assert message.startswith(f"The text in `edit` {said}")
    assert message.endswith("or write it as the help page of Edit Keypoints shows.")
    assert len(message) < 500


def test_as_many_faces_as_are_allowed_and_points_far_off_are_taken() -> None:
    faces = [{"points": (np.array(POINTS) - 900_000).tolist()}] * MOST_FACES
    assert len(edited(text(faces=faces), 1024, 768).faces) == MOST_FACES
    for value in ("1000000", "-1000000"):
        assert parse(with_point(value)) is not None
    for side in (1, 16384):
        edit = parse(text(width=side, height=side))
        assert edit is not None and edit.keypoints.width == edit.keypoints.height == side


def test_what_is_no_text_is_told() -> None:
    with pytest.raises(WrongInputError, match=r"`edit` is a dictionary .* Wanted: a text"):
        edited({"version": 1}, 1024, 768)

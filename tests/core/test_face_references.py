"""The right face is picked, references are combined, and what is missing is said."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core.embeddings import combine_embeddings
from faithful_instantid.instantid_core.errors import (
    MissingFileError,
    NoFaceError,
    WrongFileError,
    WrongInputError,
)
from faithful_instantid.instantid_core.faces import FaceAnalyzer, Pick, likeness
from faithful_instantid.instantid_core.faces.frames import fill_frames
from faithful_instantid.instantid_core.faces.previews import draw_preview, same_size
from faithful_instantid.instantid_core.faces.references import (
    Choice,
    Reference,
    choose_face,
    keep_found,
    mean_likenesses,
    parse_weights,
    report,
)
from faithful_instantid.instantid_core.identity import Identity, IdentitySide
from faithful_instantid.instantid_core.identity_file import load_embeddings, save_identity
from faithful_instantid.instantid_core.images import Picture
from faithful_instantid.instantid_core.keypoints import FacePoints
from faithful_instantid.instantid_core.unet_layout import SDXL
from safetensors.torch import save_file

# A group: in the middle the small one, on the left the large one, on the right below the third.
GROUP = [
    DrawnFace(110, 200, 190, 5, 1),
    DrawnFace(320, 120, 110, 5, 2),
    DrawnFace(530, 290, 150, 5, 3),
]


def picture_of(faces: list[DrawnFace], width: int = 640, height: int = 400) -> Picture:
    return np.ascontiguousarray(draw_faces(faces, width, height)[..., ::-1])


def person(analyzer: FaceAnalyzer, drawn: DrawnFace) -> np.ndarray:
    picture = picture_of([DrawnFace(320, 200, 300, 0, drawn.person)])
    return analyzer.embed(picture, analyzer.find(picture).faces[0])


PICKED = {
    "largest": [0, 2, 1],
    "left_to_right": [0, 1, 2],
    "top_to_bottom": [1, 0, 2],
    "nearest_center": [1, 0, 2],
}


@pytest.mark.parametrize("mode", PICKED)
def test_the_right_face_of_a_group_photo_is_picked(analyzer: FaceAnalyzer, mode: str) -> None:
    for index, wanted in enumerate(PICKED[mode]):
        reference = Reference(picture_of(GROUP), "the picture", pick=Pick(mode, index))
        choice = choose_face(analyzer, reference)
        assert choice.chosen == index
        assert np.abs(choice.face.points.kps - GROUP[wanted].kps).max() < 2


def test_highest_score_comes_first(analyzer: FaceAnalyzer) -> None:
    choice = choose_face(analyzer, Reference(picture_of(GROUP), "", pick=Pick("highest_score")))
    scores = [face.score for face in choice.faces]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_the_person_most_like_a_given_one_is_picked(analyzer: FaceAnalyzer, wanted: int) -> None:
    like = person(analyzer, GROUP[wanted])
    reference = Reference(picture_of(GROUP), "the picture", pick=Pick("most_like", 0, like))
    face = choose_face(analyzer, reference).face
    assert np.abs(face.points.kps - GROUP[wanted].kps).max() < 2


def test_most_like_without_an_identity_and_an_unknown_pick_are_refused(
    analyzer: FaceAnalyzer,
) -> None:
    with pytest.raises(WrongInputError, match="pick is most_like, but there is no identity to be"):
        choose_face(analyzer, Reference(picture_of(GROUP), "", pick=Pick("most_like")))
    with pytest.raises(WrongInputError, match="pick is 'tallest'; wanted one of: largest, left_"):
        choose_face(analyzer, Reference(picture_of(GROUP), "", pick=Pick("tallest")))


def test_an_index_beyond_the_faces_says_how_many_there_are(analyzer: FaceAnalyzer) -> None:
    reference = Reference(picture_of(GROUP), "picture 2 of 3", pick=Pick(index=3))
    assert choose_face(analyzer, reference).problem == (
        "Picture 2 of 3 (640x400) has 3 faces, numbered from 0; `index` asks for number 3. The "
        "preview shows the numbers."
    )


def test_changing_the_pick_runs_no_session(analyzer: FaceAnalyzer) -> None:
    picture = picture_of(GROUP)
    choose_face(analyzer, Reference(picture, ""))
    calls = analyzer.calls
    for mode in PICKED:
        choose_face(analyzer, Reference(picture, "", pick=Pick(mode, 1)))
    assert analyzer.calls == calls


# Row 6: nobody in the picture.

EMPTY = np.full((300, 500, 3), 90, np.uint8)
TRIED = "640, 256, 128, 320 with room around it, 160 with room around it"


def test_the_message_names_the_picture_its_size_the_sizes_tried_and_the_best_score(
    analyzer: FaceAnalyzer,
) -> None:
    assert choose_face(analyzer, Reference(EMPTY, "picture 2 of 3")).problem == (
        f"No face was found in picture 2 of 3 (500x300). Looked at the sizes {TRIED}; nothing "
        "scored, wanted at least 0.50. Use a picture that shows the face larger, upright and "
        "uncovered, lower `threshold`, or choose another `on_missing`."
    )


def test_error_skip_and_bypass(analyzer: FaceAnalyzer, caplog: pytest.LogCaptureFixture) -> None:
    pictures = [picture_of(GROUP), EMPTY]
    choices = [
        choose_face(analyzer, Reference(picture, f"picture {number} of 2"))
        for number, picture in enumerate(pictures, start=1)
    ]
    with pytest.raises(NoFaceError, match=r"^No face was found in picture 2 of 2 \(500x300\)\. "):
        keep_found(choices, "error")
    assert not caplog.records
    assert keep_found(choices, "skip") == keep_found(choices, "bypass") == [0]
    assert "No face was found in picture 2 of 2" in caplog.text
    with pytest.raises(NoFaceError, match=r"^No picture of 1 is left\. The first one: No"):
        keep_found(choices[1:], "skip")
    assert keep_found(choices[1:], "bypass") == []
    nobody = [Choice((), None, f"No face in picture {number}.") for number in (1, 2, 3)]
    with pytest.raises(NoFaceError, match=r"^No picture of 3 is left\. .* No face in picture 1\.$"):
        keep_found(nobody, "skip")
    with pytest.raises(WrongInputError, match="on_missing is 'hope'; wanted one of: error, skip"):
        keep_found(choices, "hope")


# Row 17: frames.


def at(x: float) -> tuple[FacePoints, ...]:
    return (FacePoints(np.full((5, 2), x, np.float32), np.full(4, x, np.float32)),)


FRAMES = [(), at(10), (), (), at(40), ()]
WHY = [f"No face in frame {number}." for number in range(6)]


def test_frames_without_a_face_keep_their_index(caplog: pytest.LogCaptureFixture) -> None:
    def xs(way: str) -> list[float | None]:
        return [
            float(frame[0].kps[0, 0]) if frame else None for frame in fill_frames(FRAMES, WHY, way)
        ]

    assert xs("hold") == [10, 10, 10, 10, 40, 40]
    assert xs("interpolate") == pytest.approx([10, 10, 20, 30, 40, 40])
    assert xs("blank") == [None, 10, None, None, 40, None]
    assert "Frame 3 of 6 has no face; on_missing is interpolate. No face in frame 2." in caplog.text
    moved = fill_frames(FRAMES, WHY, "interpolate")[2][0]
    assert moved.kps.dtype == moved.box.dtype == np.float32
    with pytest.raises(NoFaceError, match="No face in frame 0"):
        fill_frames(FRAMES, WHY, "error")
    with pytest.raises(NoFaceError, match="No face in frame 0"):
        fill_frames([()] * 3, WHY, "hold")
    with pytest.raises(WrongInputError, match="on_missing is 'drop'; wanted one of: error, hold"):
        fill_frames(FRAMES, WHY, "drop")


# Combining.


def test_mean_is_the_official_mean_and_norm_kept_keeps_its_length() -> None:
    one = torch.randn(5, 512, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(combine_embeddings(one, [1.0] * 5), one.mean(dim=0))
    torch.testing.assert_close(combine_embeddings(one[:1], [3.0]), one[0], rtol=0, atol=0)
    kept = combine_embeddings(one, [1.0] * 5, "norm_kept_mean")
    mean = one.mean(dim=0)
    assert torch.cosine_similarity(kept, mean, dim=0).item() == pytest.approx(1, abs=1e-5)
    assert kept.norm().item() == pytest.approx(one.norm(dim=1).mean().item(), rel=1e-5)


def test_weights_count_as_told() -> None:
    two = torch.stack([torch.zeros(512), torch.ones(512)])
    assert combine_embeddings(two, [1, 3])[0].item() == pytest.approx(0.75)
    assert parse_weights(" ", 2) == [1.0, 1.0]
    assert parse_weights("1, 0.5", 2) == [1.0, 0.5]


@pytest.mark.parametrize("text", ["1", "1, two", "1, -1", "1, inf", "1, 2, 3"])
def test_weights_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(WrongInputError, match="; wanted 2 numbers of 0 or more, one for each pic"):
        parse_weights(text, 2)


def test_weights_that_are_all_zero_and_unknown_modes_are_refused() -> None:
    two = torch.ones(2, 512)
    with pytest.raises(WrongInputError, match="weights of the references are 0, 0; wanted numbers"):
        combine_embeddings(two, [0, 0])
    with pytest.raises(WrongInputError, match="Weights are wanted for 2 references, found 1"):
        combine_embeddings(two, [1])
    with pytest.raises(WrongInputError, match="combine is 'max'; wanted one of: mean, norm_kept"):
        combine_embeddings(two, [1, 1], "max")


def test_the_report_tells_size_score_weight_and_likeness_and_warns_of_an_outlier(
    analyzer: FaceAnalyzer, caplog: pytest.LogCaptureFixture
) -> None:
    people = [(1, 260), (1, 240), (1, 120), (4, 250)]
    references = [
        Reference(picture_of([DrawnFace(320, 200, size, 3, who)]), f"picture {n} of 4", 0.5)
        for n, (who, size) in enumerate(people, start=1)
    ]
    choices = [choose_face(analyzer, reference) for reference in references]
    embeddings = {
        n: analyzer.embed(references[n].picture, choice.face) for n, choice in enumerate(choices)
    }
    lines = report(references, choices, embeddings).splitlines()
    alike = mean_likenesses(embeddings)[0]
    assert lines[0].startswith("picture 1 of 4: 640x400, face 0 of 1, 20")
    assert lines[0].endswith(f", weight 0.5, mean likeness {alike:.2f}")
    assert len(lines) == 6
    assert lines[4].startswith("Warning: The face in picture 3 of 4 is only ")
    assert lines[4].endswith("below 112 the likeness suffers. Use a larger picture of it.")
    assert lines[5].startswith("Warning: Picture 4 of 4 is unlike the others (")
    assert "Does it show the same person?" in lines[5]
    assert len(caplog.records) == 2
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_the_mean_likeness_of_a_thousand_references_is_the_mean_and_costs_next_to_nothing() -> None:
    random = np.random.default_rng(5)
    few = {n: random.normal(1, 3, 512).astype(np.float32) for n in (0, 2, 5, 7)}
    few[9] = np.zeros(512, np.float32)
    for number, found in mean_likenesses(few).items():
        others = [likeness(few[number], other) for n, other in few.items() if n != number]
        assert found == pytest.approx(sum(others) / len(others), abs=1e-6)
    assert mean_likenesses({3: few[0]}) == {3: None}
    many = {n: few[0] + n for n in range(4000)}
    before = time.perf_counter()
    mean_likenesses(many)
    assert time.perf_counter() - before < 2  # pair by pair it is half a minute


# Identity files.


def identity(noise: float = 0.0) -> Identity:
    face = torch.randn(512, generator=torch.Generator().manual_seed(1))
    side = IdentitySide(torch.zeros(1, 16, 8), torch.zeros(4))
    return Identity(face, torch.full((512,), noise), side, side)


def test_an_identity_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "someone.safetensors"
    save_identity(path, identity(0.25), "someone")
    face, negative, family = load_embeddings(path)
    assert torch.equal(face, identity().face_embedding)
    assert torch.equal(negative, torch.full((512,), 0.25))
    assert family == SDXL
    assert path.stat().st_size < 6000


GOOD = {"face_embedding": torch.ones(512), "negative_embedding": torch.zeros(512)}
MARKED = {"format": "faithful-instantid identity", "version": "1"}
WRONG_FILES = {
    "its metadata does not say that it is one": (GOOD, {}),
    "is an identity file of version 3, which a newer version of this pack wrote": (
        GOOD,
        MARKED | {"version": "3"},
    ),
    "it holds face_embedding; wanted face_embedding and negative_embedding": (
        {"face_embedding": torch.ones(512)},
        MARKED,
    ),
    "face_embedding has the size 256 and the type F32, wanted 512": (
        GOOD | {"face_embedding": torch.ones(256)},
        MARKED,
    ),
    "face_embedding has the size 512 and the type F16": (
        GOOD | {"face_embedding": torch.ones(512).half()},
        MARKED,
    ),
    "its parts differ in size: 512 and 2 x 512": (
        GOOD | {"negative_embedding": torch.ones(2, 512)},
        MARKED,
    ),
    "has values that are not numbers": (GOOD | {"face_embedding": torch.ones(512) / 0}, MARKED),
    "more than 1,048,576": (GOOD | {"face_embedding": torch.ones(600, 512)}, MARKED),
}


@pytest.mark.parametrize("reason", WRONG_FILES)
def test_a_file_that_is_no_identity_is_refused(tmp_path: Path, reason: str) -> None:
    path = tmp_path / "x.safetensors"
    tensors, metadata = WRONG_FILES[reason]
    save_file(tensors, str(path), metadata)
    with pytest.raises(WrongFileError, match=reason):
        load_embeddings(path)


def test_garbage_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(MissingFileError, match="There is no file .*Save an identity with Save Id"):
        load_embeddings(path)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(WrongFileError, match="not a readable safetensors file"):
        load_embeddings(path)


# The numbered preview.


def test_the_preview_marks_every_face_and_the_chosen_one_in_green(analyzer: FaceAnalyzer) -> None:
    picture = picture_of(GROUP)
    before = picture.copy()
    choice = choose_face(analyzer, Reference(picture, "", pick=Pick("left_to_right", 2)))
    drawn = draw_preview(picture, choice.faces, (2,))
    np.testing.assert_array_equal(picture, before)
    colours = []
    for face in choice.faces:
        left, top, right, bottom = face.points.box.round().astype(int)
        colours.append(tuple(int(c) for c in drawn[(top + bottom) // 2, left]))
    assert colours == [(255, 190, 60), (255, 190, 60), (60, 220, 60)]


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((32, 32), (512, 512)), ((400, 640), (400, 640)), ((3000, 6000), (640, 1280))],
)
def test_the_preview_is_legible_at_every_size(
    shape: tuple[int, int], wanted: tuple[int, int]
) -> None:
    drawn = draw_preview(np.zeros((*shape, 3), np.uint8), (), (), "no face found")
    assert drawn.shape[:2] == wanted
    assert drawn.max() == 255


def test_previews_of_several_sizes_make_one_batch() -> None:
    previews = [np.zeros((h, w, 3), np.uint8) for h, w in ((400, 600), (600, 400), (1, 900))]
    assert {one.shape for one in same_size(previews)} == {(400, 600, 3)}


KEPT = Path(__file__).resolve().parent.parent / "golden" / "identity_v1.safetensors"


def test_a_file_of_version_1_loads_for_ever() -> None:
    face, negative, family = load_embeddings(KEPT)
    assert face.shape == negative.shape == (2, 512)
    assert face[1, 3].item() == 0.5 and not negative.any()
    assert family == SDXL


def test_a_new_field_raises_the_version(tmp_path: Path) -> None:
    save_identity(tmp_path / "new.safetensors", identity(), "a name")
    contents = []
    for path in (KEPT, tmp_path / "new.safetensors"):
        with safetensors.safe_open(str(path), "pt") as file:
            contents.append((sorted(file.keys()), {**file.metadata(), "name": ""}))
    assert contents[0] == contents[1], "raise VERSION, keep reading 1, and keep a file of each"


def test_a_file_of_a_newer_version_with_a_new_tensor_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "newer.safetensors"
    tensors = {"face_embedding": torch.ones(512), "a_new_one": torch.ones(3)}
    metadata = {"format": "faithful-instantid identity", "version": "3", "name": ""}
    save_file(tensors, path, metadata)
    wanted = "Update Faithful InstantID, or encode the face again from its photo and save it here"
    with pytest.raises(WrongFileError, match=wanted):
        load_embeddings(path)

"""dlib on real photos, and what the photos themselves come to as pictures."""

from __future__ import annotations

import io
from pathlib import Path

import insightface
import numpy as np
import pytest
import skimage.data
from dlib import get_frontal_face_detector
from faithful_instantid.devtools.likeness_bench import metrics, prompts, rehearsal, settings
from faithful_instantid.devtools.likeness_bench.errors import QualityError
from faithful_instantid.devtools.likeness_bench.judging import Judge, look_at_photos
from faithful_instantid.devtools.likeness_bench.making import Store
from faithful_instantid.devtools.likeness_bench.people import Picture, open_picture, read_people
from faithful_instantid.devtools.likeness_bench.plan import Plan
from faithful_instantid.devtools.likeness_bench.recognisers import (
    DlibRecogniser,
    Face,
    PackRecogniser,
    open_recogniser,
)
from PIL import Image, ImageEnhance, ImageOps

GROUP = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"


class Levels:
    """A reader whose answers are known: from mean levels and the length of the prompt."""

    name, text_column, alike_column = "levels", "T", "I"

    def text(self, picture: Picture, face: Face | None, prompt: str, /) -> float:
        assert (face is None) == (picture.std() == 0)
        return float(picture.mean()) + len(prompt)

    def alike(self, picture: Picture, other: Picture, /) -> float:
        return float(picture.mean() - other.mean())


def from_left(faces: list[Face]) -> list[Face]:
    return sorted(faces, key=lambda face: face.box[0])


def test_dlib_tells_the_six_of_a_group_photo_apart_and_finds_each_in_a_changed_copy(
    dlib: DlibRecogniser,
) -> None:
    photo = Image.open(GROUP).convert("RGB")
    small = photo.resize((round(0.8 * photo.width), round(0.8 * photo.height)))
    changed = ImageEnhance.Brightness(ImageOps.mirror(small)).enhance(1.3)
    people = from_left(dlib.look(np.asarray(photo)))
    copies = from_left(dlib.look(np.asarray(changed)))[::-1]
    assert (len(people), len(copies)) == (6, 6)
    alike = np.array([[metrics.cosine(a.embedding, b.embedding) for b in copies] for a in people])
    assert alike.argmax(1).tolist() == alike.argmax(0).tolist() == list(range(6))
    own, strangers = alike.diagonal(), alike[~np.eye(6, dtype=bool)]
    assert own.min() > strangers.max()
    # dlib's own rule: one person up to a distance of 0.6.
    distances = [np.linalg.norm(a.embedding - b.embedding) for a in people for b in people]
    assert sum(distance < 0.6 for distance in distances) == 6


def test_dlib_finds_the_astronaut_of_scikit_image_and_takes_her_for_none_of_the_six(
    dlib: DlibRecogniser,
) -> None:
    photo = skimage.data.astronaut()
    (face,) = dlib.look(photo)
    (again,) = dlib.look(np.ascontiguousarray(photo[40:400, 60:400][:, ::-1]))
    own = metrics.cosine(face.embedding, again.embedding)
    six = dlib.look(np.asarray(Image.open(GROUP).convert("RGB")))
    assert own > 0.96 > max(metrics.cosine(face.embedding, one.embedding) for one in six)


def test_a_face_that_lies_on_its_side_is_found_by_the_slow_detector(
    dlib: DlibRecogniser, face: Image.Image
) -> None:
    small = face.resize((face.width // 2, face.height // 2))
    tilted = np.pad(
        np.asarray(small.rotate(75, fillcolor=(90, 90, 90))),
        ((0, 40), (0, 0), (0, 0)),
        constant_values=90,
    )
    assert len(get_frontal_face_detector()(tilted, 0)) == 0
    (found,) = dlib.look(tilted)
    size = (round(960 * tilted.shape[1] / tilted.shape[0]), 960)
    (larger,) = dlib.look(np.asarray(Image.fromarray(tilted).resize(size)))
    assert 0.1 < found.share(tilted) < 0.7
    # Looked at in the same size, and told in the picture's own.
    scale = 960 / tilted.shape[0]
    assert larger.box[1] / scale == pytest.approx(found.box[1], abs=12)
    assert larger.area / scale**2 == pytest.approx(found.area, rel=0.35)


def test_the_largest_face_comes_first_and_its_share_is_of_the_whole_picture(
    dlib: DlibRecogniser,
) -> None:
    photo = np.asarray(Image.open(GROUP).convert("RGB"))
    areas = [face.area for face in dlib.look(photo)]
    assert areas == sorted(areas, reverse=True)
    half_out = Face(np.array([-50, 0, 50, 40], np.float32), np.ones(128, np.float32))
    assert half_out.share(np.zeros((80, 100, 3), np.uint8)) == pytest.approx(50 * 40 / 8000)


def test_photos_as_pictures_have_the_scores_that_are_known(
    dlib: DlibRecogniser, tmp_path: Path
) -> None:
    rehearsal.save_with_copies(tmp_path / "photos", rehearsal.group_photo()[:2])
    plan = Plan(
        read_people(tmp_path / "photos"),
        prompts.read_prompts(count=1),
        settings.read_settings(names=["published default", "old nodes", "without InstantID"]),
        1,
    )
    store = Store(tmp_path / "pictures")
    empty = io.BytesIO()
    Image.new("RGB", (96, 64), (120, 120, 120)).save(empty, "PNG")
    for case in plan.cases:  # the reference copied, the held-out photo, nobody
        shown = (*case.person.photos, None)[plan.settings.index(case.setting)]
        store.keep(case, shown.read_bytes() if shown else empty.getvalue(), 4.0)
    photos = look_at_photos(plan.people, dlib)
    scores = Judge(plan, store, dlib, Levels(), photos).scores(iter)
    copied, held_out, nobody = (scores[n : n + 2] for n in (0, 2, 4))
    lines = metrics.lines_of(photos.of)
    assert lines.same == pytest.approx(np.mean([one.to_held_out for one in copied]), abs=1e-6)
    assert lines.same == pytest.approx(np.mean([one.to_reference for one in held_out]), abs=1e-6)
    for one in copied:
        assert (one.to_reference, one.copy_paste) == (pytest.approx(1), pytest.approx(1))
    for one in held_out:
        assert (one.to_held_out, one.copy_paste) == (pytest.approx(1), pytest.approx(-1))
    for one in nobody:
        assert (one.faces, one.to_reference, one.copy_paste, one.share) == (0, None, None, None)
        assert (one.text, one.alike) == (120 + len(plan.prompts[0].text), None)
    prompt = plan.prompts[0].text
    for one, person in zip(copied, plan.people, strict=True):
        level = open_picture(person.reference).mean()
        # Compared with the empty picture of the setting without a person.
        assert one.text == pytest.approx(level + len(prompt))
        assert one.alike == pytest.approx(level - 120)
        assert one.share is not None and 0.1 < one.share < 0.6
    assert lines.strangers is not None and lines.same is not None
    assert lines.strangers < 0.93 < lines.same


def test_photos_that_cannot_serve_are_all_named(
    dlib: DlibRecogniser, face: Image.Image, tmp_path: Path
) -> None:
    for name in ("ann", "bob", "eve"):
        (tmp_path / name).mkdir()
        face.save(tmp_path / name / "1.png")
    face.save(tmp_path / "ann" / "2.png")
    Image.new("RGB", (96, 64)).save(tmp_path / "bob" / "2.png")
    found = look_at_photos(read_people(tmp_path), dlib)
    twice, none = found.problems
    assert (
        twice == "another photo of ann: 2.png shows the very photo that is the reference (1.png)."
    )
    assert "a face in " in none and "bob/2.png: dlib's ResNet" in none and "finds none" in none
    assert found.notes == [
        "eve has one photo: likeness to a held-out photo and the copy-paste score are left out."
    ]


def test_any_face_pack_of_insightface_is_a_recogniser(models: Path, tmp_path: Path) -> None:
    made = rehearsal.rehearse("drawn", tmp_path, models)
    pack = open_recogniser(made.recogniser)
    assert isinstance(pack, PackRecogniser) and pack.warning == ""
    assert pack.name.startswith("antelopev2/glintr100.onnx (sha256 ")
    people = read_people(made.photos)
    photos = look_at_photos(people, pack)
    lines = metrics.lines_of(photos.of)
    assert photos.problems == []
    assert lines.same is not None and lines.strangers is not None
    assert lines.same > 0.9 > 0.6 > lines.strangers
    (face,) = pack.look(open_picture(people[0].reference))
    assert face.embedding.shape == (512,)
    with pytest.raises(QualityError, match="--recogniser: The face pack .* was not found"):
        open_recogniser(str(tmp_path))
    with pytest.raises(QualityError, match="wanted 'dlib', or the folder of a face pack"):
        open_recogniser("auraface")

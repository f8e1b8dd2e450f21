"""Pictures are ranked by how much they look like a person; every look is paid for once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import pytest
import torch
from faithful_instantid.devtools.drawn import expand, packed, world
from faithful_instantid.devtools.standins import faces as standins
from faithful_instantid.devtools.standins.graph import Graph
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import (
    MissingFileError,
    NoFaceError,
    WrongInputError,
)
from faithful_instantid.instantid_core.faces import FaceAnalyzer, find_pack, open_analyzer
from faithful_instantid.instantid_core.faces.scoring import FLATTERS, Scores, keep
from faithful_instantid.instantid_core.identity import NoIdentity
from faithful_instantid.instantid_core.log import listening
from faithful_instantid.nodes import folders
from faithful_instantid.nodes.likeness import KeepMostAlike, Likeness
from torch import Tensor

PEOPLE = 20
OWN = folders.OWN_RECOGNISER
LOOKS = 2  # passes of the detector over a picture in which it finds a face


@pytest.fixture(scope="module")
def insightface_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The face pack of drawn people as antelopev2; as buffalo_l one that knows colours alone."""
    root = tmp_path_factory.mktemp("insightface")
    nets = packed.load()
    for name in ("antelopev2", "buffalo_l", "eyeless"):
        (root / "models" / name).mkdir(parents=True)
    expand.make_recogniser(root / "models" / "antelopev2" / standins.RECOGNISER, nets["recogniser"])
    for name in ("antelopev2", "eyeless"):
        expand.make_detector(root / "models" / name / standins.DETECTOR, nets["detector"])
    graph = Graph()
    mean = graph.reshape(graph.op("GlobalAveragePool", standins.INPUT), [-1, 3])
    spread = np.random.default_rng(5).normal(size=(3, 512)).astype(np.float32)
    made = graph.op("MatMul", mean, graph.constant(spread))
    inputs: Any = {standins.INPUT: ["n", 3, 112, 112]}
    graph.save(
        root / "models" / "buffalo_l" / "w600k_r50.onnx", inputs, {"683": (made, ["n", 512])}
    )
    return root


@pytest.fixture
def analyzer(
    insightface_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> FaceAnalyzer:
    """The pack of drawn people, which has seen nothing yet."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    folders.register()
    folder_paths.add_model_folder_path("insightface", str(insightface_folder))
    return open_analyzer(find_pack("antelopev2", [insightface_folder]), "CPU")


SITTERS = world.sitters(PEOPLE)


def image_of(*pictures: world.Picture) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).float() / 255


def another_picture(number: int) -> world.Picture:
    """The same person in another scene and pose."""
    random = np.random.default_rng([77, number])
    pose, scene = world.draw_pose(random), world.draw_scene(random)
    return world.draw([(SITTERS[number].identity, pose)], scene)


PORTRAITS = [image_of(sitter.portrait) for sitter in SITTERS]
OTHERS = [another_picture(number) for number in range(PEOPLE)]
EMPTY = np.zeros((world.SIZE, world.SIZE, 3), np.uint8)


def embedding(analyzer: FaceAnalyzer, picture: world.Picture) -> np.ndarray:
    bgr = np.ascontiguousarray(picture[..., ::-1])
    return analyzer.embed(bgr, analyzer.find(bgr).faces[0])


def test_of_made_pairs_the_person_is_ranked_above_the_other_20_of_20_times(
    analyzer: FaceAnalyzer,
) -> None:
    right = 0
    for number in range(PEOPLE):
        pair = image_of(OTHERS[(number + 7) % PEOPLE], OTHERS[number])
        scores, _, _ = Likeness.execute(analyzer, pair, OWN, reference=PORTRAITS[number]).result
        right += scores[1] > scores[0]
    assert right == 20


def test_among_twenty_pictures_the_persons_own_is_kept(analyzer: FaceAnalyzer) -> None:
    everybody = image_of(*OTHERS)
    for number in (0, 6, 13):
        made = KeepMostAlike.execute(analyzer, everybody, OWN, 3, reference=PORTRAITS[number])
        images, order, _ = made.result
        assert order[0] == number and len(images) == len(order) == 3
        assert torch.equal(images, everybody[order])


def test_a_batch_of_16_costs_one_look_each_and_nothing_twice(analyzer: FaceAnalyzer) -> None:
    batch = image_of(*OTHERS[:16])
    person = PORTRAITS[3]
    Likeness.execute(analyzer, batch, OWN, reference=person)
    assert analyzer.calls == (16 + 1) * (LOOKS + 1)  # each is looked at, and its face compared
    Likeness.execute(analyzer, batch.flip(0), OWN, reference=person)
    KeepMostAlike.execute(analyzer, batch, OWN, 4, reference=person)
    KeepMostAlike.execute(analyzer, batch, OWN, 4, reference=PORTRAITS[3].clone())
    assert analyzer.calls == 17 * (LOOKS + 1)
    Likeness.execute(analyzer, torch.cat([batch, batch]), OWN, reference=person)
    assert analyzer.calls == 17 * (LOOKS + 1)
    other = analyzer.with_recogniser(folders.recogniser_path("buffalo_l"))
    before = other.calls
    Likeness.execute(analyzer, batch, "buffalo_l", reference=person)
    assert other.calls - before == 17  # compared anew, found already
    KeepMostAlike.execute(analyzer, batch, "buffalo_l", 1, reference=person)
    assert other.calls - before == 17


def test_a_score_is_the_cosine_of_raw_embeddings(analyzer: FaceAnalyzer, adapter: Any) -> None:
    a, b = (embedding(analyzer, picture) for picture in (OTHERS[0], OTHERS[1]))
    wanted = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    identity = host.encode_identity(adapter, torch.from_numpy(b))
    pictures = image_of(OTHERS[0], OTHERS[1])
    for person in ({"identity": identity}, {"reference": image_of(OTHERS[1])}):
        scores, preview, report = Likeness.execute(analyzer, pictures, OWN, **person).result
        assert scores == pytest.approx([wanted, 1.0], abs=1e-5)
        assert preview.shape == (2, 512, 512, 3)
        assert report.splitlines()[0] == f"picture 0: likeness {wanted:.2f}"
    both = {"identity": identity, "reference": image_of(OTHERS[0])}  # the photo counts
    assert Likeness.execute(analyzer, pictures, OWN, **both)[0][0] == pytest.approx(1.0)
    photos = image_of(OTHERS[0], OTHERS[1])  # several photos count by their mean
    middle = (a + b) / 2
    near = float(a @ middle / np.linalg.norm(a) / np.linalg.norm(middle))
    assert Likeness.execute(analyzer, pictures, OWN, reference=photos)[0][0] == pytest.approx(near)


def test_of_several_faces_the_most_alike_one_counts(analyzer: FaceAnalyzer) -> None:
    left, right = SITTERS[4].identity, SITTERS[9].identity
    random = np.random.default_rng(3)
    poses, scene = world.draw_two_poses(random), world.draw_scene(random)
    couple = world.draw(list(zip((left, right), poses, strict=True)), scene)
    for number in (4, 9):
        alone = Likeness.execute(
            analyzer, image_of(couple, OTHERS[15]), OWN, reference=PORTRAITS[number]
        )[0]
        assert alone[0] > 0.5 > alone[1]


def test_a_picture_without_a_face_scores_nothing_says_so_and_comes_last(
    analyzer: FaceAnalyzer,
) -> None:
    batch = image_of(EMPTY, OTHERS[5], EMPTY, OTHERS[2])
    with listening() as heard:
        scores, preview, report = Likeness.execute(
            analyzer, batch, OWN, reference=PORTRAITS[2]
        ).result
    assert scores[0] == scores[2] == -1.0 < scores[1] < scores[3]
    assert heard.problems == [
        "No face was found in 2 of 4 pictures (numbers from 0: 0, 2); they have no score."
    ]
    assert heard.found == [
        f"likeness {scores[1]:.2f} to {scores[3]:.2f}, most in picture 3",
        FLATTERS,
    ]
    assert report.splitlines()[2] == "picture 2: no face found"
    assert len(preview) == 4
    kept = KeepMostAlike.execute(analyzer, batch, OWN, 9, reference=PORTRAITS[2])
    assert kept[1] == [3, 1, 0, 2]
    nobody = KeepMostAlike.execute(analyzer, image_of(EMPTY, EMPTY), OWN, 1, reference=PORTRAITS[2])
    assert nobody[1] == [0]


@pytest.mark.parametrize(("missing", "listed"), [(8, "6, 7"), (9, "6, 7, ...")])
def test_of_many_pictures_without_a_face_the_first_eight_are_named(
    analyzer: FaceAnalyzer, missing: int, listed: str
) -> None:
    with listening() as heard:
        Likeness.execute(analyzer, image_of(*[EMPTY] * missing), OWN, reference=PORTRAITS[2])
    (said,) = heard.problems
    assert said.startswith(f"No face was found in {missing} of {missing} pictures ")
    assert f"(numbers from 0: 0, 1, 2, 3, 4, 5, {listed});" in said


def test_what_is_kept_has_colours_where_a_picture_had_no_number() -> None:
    images = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.3]).repeat(2, 5, 7, 1)[..., :3]
    images[0] = 0.25
    made = keep(Scores([0.1, 0.7], images, "", [1, 0]), images, 2)
    assert made.images[0, 2, 3].tolist() == [1.0, 0.0, 0.0]
    assert made.order == [1, 0] and bool((made.images[1] == 0.25).all())


def test_another_recogniser_judges_by_a_photo_and_does_not_flatter(
    analyzer: FaceAnalyzer, adapter: Any
) -> None:
    assert folders.recognisers() == [OWN, "buffalo_l", "eyeless"]
    batch = image_of(OTHERS[0], OTHERS[1])
    own, _, report = Likeness.execute(analyzer, batch, OWN, reference=PORTRAITS[0]).result
    assert report.splitlines()[-1] == FLATTERS
    fair, _, report = Likeness.execute(analyzer, batch, "buffalo_l", reference=PORTRAITS[0]).result
    assert "flatter" not in report
    other = analyzer.with_recogniser(folders.recogniser_path("buffalo_l"))
    a, b = embedding(other, OTHERS[0]), embedding(other, SITTERS[0].portrait)
    wanted = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert fair[0] == pytest.approx(wanted, abs=1e-5) and fair[0] != pytest.approx(own[0], abs=0.01)
    identity = host.encode_identity(adapter, torch.from_numpy(embedding(analyzer, OTHERS[0])))
    with pytest.raises(WrongInputError, match="Another recogniser scores, .* Connect a photo"):
        Likeness.execute(analyzer, batch, "buffalo_l", identity=identity)
    kinds = [made.get_io_type() for made in Likeness.define_schema().outputs]
    assert kinds == ["FLOAT", "IMAGE", "STRING"]


def test_what_cannot_be_compared_is_refused_in_words(analyzer: FaceAnalyzer) -> None:
    batch = image_of(OTHERS[0])
    with pytest.raises(WrongInputError, match="There is nobody to compare with. Connect"):
        Likeness.execute(analyzer, batch, OWN)
    with pytest.raises(WrongInputError, match="`identity` is a face that was bypassed: No photo"):
        Likeness.execute(analyzer, batch, OWN, identity=NoIdentity("No photo."))
    with pytest.raises(NoFaceError, match="No face was found in the picture"):
        Likeness.execute(analyzer, batch, OWN, reference=image_of(EMPTY))
    with pytest.raises(MissingFileError, match="The face pack eyeless has no recogniser"):
        Likeness.execute(analyzer, batch, "eyeless", reference=PORTRAITS[0])
    with pytest.raises(WrongInputError, match="count is 0; 1 or more"):
        KeepMostAlike.execute(analyzer, batch, OWN, 0, reference=PORTRAITS[0])

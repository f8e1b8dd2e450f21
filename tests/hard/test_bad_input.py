"""Whatever an input is given, a node answers with a result or with a sentence for the user."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faithful_instantid
import folder_paths
import pytest
import torch
from faithful_instantid.devtools.comfy_server import default_comfyui, standin_models
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core.crops import CropSettings, plan_crops
from faithful_instantid.instantid_core.errors import InstantIDError
from faithful_instantid.instantid_core.faces import Pick, find_pack, open_analyzer
from faithful_instantid.instantid_core.faces.references import references_of
from faithful_instantid.instantid_core.fitting import standard_face
from faithful_instantid.instantid_core.host.people import PersonSettings, with_person
from faithful_instantid.instantid_core.identity_file import save_identity
from faithful_instantid.instantid_core.weighting import LayerWeights, eased
from faithful_instantid.nodes import folders
from faithful_instantid.nodes.keypoints import PlaceKeypoints, TransformKeypoints
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ..host.input_world import posed
from ..host.predict import conditioning, noise_of, predict
from .bad_values import bad_values
from .conftest import LONG, Tally

PHOTO = torch.from_numpy(draw_faces([DrawnFace(60, 60, 90)], 120, 120)).float()[None] / 255
NODES = {
    node.define_schema().node_id: node
    for node in asyncio.run(asyncio.run(faithful_instantid.comfy_entrypoint()).get_node_list())
}
PLACED = {
    "long_side": 64,
    "width": 256,
    "height": 256,
    "file": "ip-adapter.bin",
    "instantid_file": "ip-adapter.bin",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, identity: Any) -> Iterator[Path]:
    """ComfyUI's folders, with the stand-in models and one saved identity in them."""
    found = standin_models(default_comfyui(), sys.executable)
    base = tmp_path_factory.mktemp("comfyui")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_paths, "models_dir", str(found))
        patch.setattr(folder_paths, "output_directory", str(base / "output"))
        patch.setattr(folder_paths, "temp_directory", str(base / "temp"))
        patch.setattr(folder_paths, "folder_names_and_paths", {})
        patch.setattr(folder_paths, "filename_list_cache", {})
        folders.register()
        folder_paths.add_model_folder_path("controlnet", str(found / "controlnet"))
        names, _ = folder_paths.folder_names_and_paths["controlnet"]
        folder_paths.folder_names_and_paths["controlnet"] = (names, {".safetensors"})
        saved = base / "output" / folders.IDENTITIES
        saved.mkdir(parents=True)
        save_identity(saved / "ann.safetensors", identity)
        yield base


@pytest.fixture(scope="module")
def good(
    models: Path,
    adapter: Any,
    identity: Any,
    tiny_model: Any,
    make_controlnet: Callable[[str], Any],
    official: dict[str, torch.Tensor],
) -> Callable[[str, Any], Any]:
    """Return what gives a right value for an input of a node."""
    analyzer = open_analyzer(find_pack("antelopev2", folders.face_pack_folders()), "CPU")
    face = standard_face(256, 256)
    by_type = {
        "FACEANALYSIS": analyzer,
        "INSTANTID": adapter,
        "MODEL": tiny_model,
        "CONTROL_NET": make_controlnet("identitynet"),
        "IMAGE": PHOTO,
        "MASK": torch.full((1, 64, 64), 0.5),
        "FACE_EMBEDS": identity,
        "FACE_KEYPOINTS": face,
        "POSE_KEYPOINT": posed(face)[:1],
        "FACE_CROP": plan_crops(face, PHOTO, "largest", 0, CropSettings(long_side=64)),
        "IID_FACE_REFERENCES": references_of(PHOTO, "", Pick()),
        "IID_PEOPLE": with_person(None, identity, face, None, PersonSettings("left_to_right")),
        "IID_LAYER_WEIGHTS": LayerWeights.of_parts(1.0, 0.5, 1.0),
        "IID_WEIGHT_CURVE": eased("linear", 1.0, 0.5),
    }

    def value(node: str, wanted: Any) -> Any:
        kind = wanted.get_io_type()
        if kind == "CONDITIONING":
            side = "negative" if wanted.id == "negative" else "positive"
            return conditioning(official, side)
        if wanted.id in PLACED and not (node == "IID_LoadIdentity" and wanted.id == "file"):
            return PLACED[wanted.id]
        first = kind.split(",")[0]
        if first in by_type:
            return by_type[first]
        if kind == "COMBO":
            return wanted.default if wanted.default is not None else wanted.options[0]
        return wanted.default

    return value


Run = Callable[[str, dict[str, Any]], str]
ANSWERED, REFUSED = "answered", "refused"


@pytest.fixture(scope="module")
def run(good: Any, official: dict[str, torch.Tensor], tiny_model: Any) -> Run:
    """Run a node with right values but for some; tell what became of it.

    Where a model or conditionings come out, a prediction is made with them.
    """

    def node_run(node: str, changed: dict[str, Any]) -> str:
        inputs = {
            wanted.id: good(node, wanted)
            for wanted in NODES[node].define_schema().inputs
            if not wanted.optional or wanted.id in ("keypoints", "identity")
        }
        try:
            return use(NODES[node].execute(**{**inputs, **changed}).result or ())
        except InstantIDError as error:
            return judged(str(error))
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]} at {place_of(error)}"

    def use(results: tuple[Any, ...]) -> str:
        for result in results:
            if isinstance(result, torch.Tensor) and not bool(result.isfinite().all()):
                return "a picture or mask with numbers that are not finite came out"
        models = [result for result in results if hasattr(result, "model_options")]
        lists = [result for result in results if isinstance(result, list)]
        sides = [one for one in lists if not any(isinstance(part, (int, float)) for part in one)]
        if not models and not sides:
            return ANSWERED
        texts = [conditioning(official, side) for side in ("positive", "negative")]
        sides = [*sides[:2], *texts[len(sides) :]]
        model = models[0] if models else tiny_model
        found = predict(model, *sides, noise_of(official, model, 600), 600)
        finite = all(bool(side.isfinite().all()) for side in found.values())
        return ANSWERED if finite else "a prediction with numbers that are not finite came out"

    return node_run


def judged(message: str) -> str:
    """Say whether a message can be read by a user."""
    if len(message) > LONGEST_MESSAGE:
        return f"a message of {len(message)} characters: {message[:80]} ..."
    if " " not in message or not message.rstrip().endswith((".", ";", "onnxruntime")):
        return f"no sentence: {message}"
    if any(ord(character) < 32 and character != "\n" for character in message):
        return f"a message with control characters: {message!r}"
    return REFUSED


LONGEST_MESSAGE = 1200


def place_of(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


STEP = 4  # of the nodes whose every answer costs a prediction, the short form tries each fourth


def is_costly(node: str) -> bool:
    kinds = {made.get_io_type() for made in NODES[node].define_schema().outputs}
    return bool(kinds & {"MODEL", "CONDITIONING"})


INPUTS = [
    pytest.param(node, wanted.id, wanted.get_io_type(), id=f"{node}-{wanted.id}")
    for node, found in NODES.items()
    for wanted in found.define_schema().inputs
]


@pytest.mark.parametrize(("node", "name", "kind"), INPUTS)
def test_whatever_one_input_brings_there_is_a_result_or_a_sentence(
    run: Run, tally: Tally, node: str, name: str, kind: str
) -> None:
    values = list(bad_values(kind).items())
    if not LONG and is_costly(node):
        values = values[len(name) % STEP :: STEP]
    outcomes = {what: run(node, {name: value}) for what, value in values}
    tally("bad inputs tried on the nodes themselves", len(outcomes))
    wrong = {what: text for what, text in outcomes.items() if text not in (ANSWERED, REFUSED)}
    assert not wrong, "\n" + "\n".join(f"  {what}: {text}" for what, text in wrong.items())


def test_every_node_answers_right_inputs(run: Run) -> None:
    """So that a refusal above is about the bad value."""
    assert {node: run(node, {}) for node in NODES} == dict.fromkeys(NODES, ANSWERED)


TEXT_INPUTS = {
    "IID_LayerWeights": "values",
    "IID_WeightCurve": "points",
    "IID_EncodeFace": "weights",
    "IID_SaveIdentity": "filename_prefix",
    "IID_EditKeypoints": "edit",
}
WRITTEN = st.one_of(
    st.text(max_size=60), st.text("0123456789.,:;-+einfa \n", max_size=60), st.text("./\\~%ab")
)


@pytest.mark.parametrize("node", TEXT_INPUTS)
@settings(
    max_examples=400 if LONG else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=WRITTEN)
def test_whatever_is_written_into_a_text_there_is_a_result_or_a_sentence(
    run: Run, tally: Tally, node: str, text: str
) -> None:
    tally("texts tried by hypothesis", 1)
    more = {"curve": "points"} if node == "IID_WeightCurve" else {}
    assert run(node, {TEXT_INPUTS[node]: text, **more}) in (ANSWERED, REFUSED)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@settings(
    max_examples=1000 if LONG else 80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(moved=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=4), at=NUMBERS)
def test_faces_moved_anywhere_are_drawn_or_refused(
    run: Run, tally: Tally, moved: list[tuple[float, float, float, float]], at: float
) -> None:
    tally("chains of moved keypoints tried by hypothesis", 1)
    try:
        points = PlaceKeypoints.execute(96, 64, at, 0.5, 0.4)[0]
        for x, y, scale, turn in moved:
            turned = {"yaw": turn, "pitch": x}
            moved_on = TransformKeypoints.execute(True, x, y, scale, turn, points, **turned)
            points = moved_on[0]
    except InstantIDError as error:
        assert judged(str(error)) == REFUSED
        return
    size = {"width": 72, "height": 128, "keypoints": points}
    for node in ("IID_DrawKeypoints", "IID_FaceRegionMask"):
        for fit in ("crop", "pad"):
            assert run(node, {**size, "fit": fit}) in (ANSWERED, REFUSED)


@settings(
    max_examples=300 if LONG else 20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(weight=NUMBERS, strength=NUMBERS, start=NUMBERS, end=NUMBERS)
def test_any_numbers_on_apply_give_a_picture_or_a_sentence(
    run: Run, tally: Tally, weight: float, strength: float, start: float, end: float
) -> None:
    tally("sets of numbers on Apply InstantID tried by hypothesis", 1)
    numbers = {"weight": weight, "strength": strength, "start_percent": start, "end_percent": end}
    place = {"keypoints": standard_face(256, 256)}
    assert run("IID_Apply", {**numbers, **place}) in (ANSWERED, REFUSED)


@settings(
    max_examples=200 if LONG else 25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    shape=st.tuples(st.integers(0, 3), st.integers(0, 90), st.integers(0, 90), st.integers(0, 5)),
    value=NUMBERS,
    kind=st.sampled_from([torch.float32, torch.float16, torch.uint8, torch.int64, torch.bool]),
)
def test_any_picture_is_looked_at_or_refused(
    run: Run, tally: Tally, shape: tuple[int, int, int, int], value: float, kind: torch.dtype
) -> None:
    tally("pictures tried by hypothesis", 1)
    picture = torch.full(shape, value, dtype=torch.float64).nan_to_num(0.0).to(kind)
    if kind.is_floating_point and picture.numel():
        picture.view(-1)[:1] = torch.tensor(value, dtype=torch.float64).to(kind)
    assert run("IID_FaceKeypoints", {"image": picture, "on_missing": "blank"}) in (
        ANSWERED,
        REFUSED,
    )

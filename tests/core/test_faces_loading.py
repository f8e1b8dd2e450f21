"""The face models load wherever they lie, on whatever there is, or a sentence says what to do."""

from __future__ import annotations

import importlib.metadata
import logging
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from faithful_instantid.instantid_core.errors import (
    MissingDependencyError,
    MissingFileError,
    WrongFileError,
    WrongInputError,
)
from faithful_instantid.instantid_core.faces import (
    find_pack,
    find_recogniser,
    open_analyzer,
    pack_names,
    runtime,
)
from faithful_instantid.instantid_core.faces.onnx_signature import Signature, read_signature
from faithful_instantid.instantid_core.faces.recognisers import (
    ANTELOPEV2,
    WRONG,
    check_recogniser,
)
from insightface.app import FaceAnalysis

REPAIR = f"{sys.executable} -m pip install --force-reinstall --no-deps onnxruntime-gpu"
INSTALL = f'{sys.executable} -m pip install "insightface>=1.0.1" onnxruntime'


@pytest.fixture
def pack_files(insightface_folder: Path) -> Path:
    return insightface_folder / "models" / "antelopev2"


# Row 1: it always loads, and says what to install.


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize("package", ["insightface", "onnxruntime"])
def test_a_missing_package_gives_one_sentence_with_the_install_command_for_this_python(
    monkeypatch: pytest.MonkeyPatch, insightface_folder: Path, package: str
) -> None:
    pack = find_pack("antelopev2", [insightface_folder])
    hide(monkeypatch, package)
    wanted = (
        f"The Python package {package} is not installed for the Python that runs ComfyUI; "
        f"finding faces needs it. Run: {INSTALL}"
    )
    with pytest.raises(MissingDependencyError, match=f"^{re.escape(wanted)}$"):
        open_analyzer(pack)


def test_a_package_that_insightface_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'onnx'", name="onnx")
    text = runtime._import_failure("insightface", error)
    assert text == (
        f"insightface is installed, but the package onnx, which it needs, is not. Run: {INSTALL}"
    )


def test_a_broken_binary_is_explained() -> None:
    error = ValueError("numpy.dtype size changed")
    text = runtime._import_failure("insightface", error)
    assert "cannot be imported (ValueError: numpy.dtype size changed)" in text
    assert f"{sys.executable} -m pip install --upgrade" in text


def test_a_python_with_a_space_in_its_path_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "C:/My ComfyUI/python.exe")
    assert runtime.this_python() == '"C:/My ComfyUI/python.exe"'


# Row 2: every layout, in every folder.

LAYOUTS = {
    "nested": "models/antelopev2",
    "doubled": "models/antelopev2/antelopev2",
    "without models": "antelopev2",
    "flat": ".",
    "flat in models": "models",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_pack_is_found_in_every_layout_and_by_content(
    tmp_path: Path, pack_files: Path, layout: str
) -> None:
    folder = tmp_path / "second" / LAYOUTS[layout]
    folder.mkdir(parents=True)
    shutil.copy(pack_files / "glintr100.onnx", folder / "a_face.onnx")
    shutil.copy(pack_files / "scrfd_10g_bnkps.onnx", folder / "b_face.onnx")
    roots = [tmp_path / "first", tmp_path / "second"]
    assert pack_names(roots) == ["antelopev2"]
    pack = find_pack("antelopev2", roots)
    assert pack.detector.name == "b_face.onnx"
    assert pack.recogniser.name == "a_face.onnx"


def test_a_folder_that_is_incomplete_does_not_hide_a_complete_one(
    tmp_path: Path, pack_files: Path
) -> None:
    half, whole = tmp_path / "a" / "antelopev2", tmp_path / "b" / "antelopev2"
    half.mkdir(parents=True)
    shutil.copy(pack_files / "glintr100.onnx", half)
    shutil.copytree(pack_files, whole)
    assert find_pack("antelopev2", [tmp_path / "a", tmp_path / "b"]).detector.parent == whole


def test_a_missing_pack_says_where_it_looked_what_was_there_and_what_to_put_where(
    tmp_path: Path, pack_files: Path
) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    (first / "models" / "antelopev2").mkdir(parents=True)
    shutil.copy(pack_files / "glintr100.onnx", first / "models" / "antelopev2")
    second.mkdir()
    (second / "antelopev2.zip").touch()
    with pytest.raises(MissingFileError) as caught:
        find_pack("antelopev2", [first, second, third])
    text = str(caught.value)
    assert "The face pack antelopev2 was not found. Looked in these folders" in text
    found = Path("models") / "antelopev2" / "glintr100.onnx"
    assert f"{first}: {found}\n" in text
    assert f"{second}: no .onnx file; antelopev2.zip is not unzipped\n" in text
    assert f"{third}: no such folder\n" in text
    assert f"{first / 'models' / 'antelopev2'} lacks a detector with five points" in text
    put = "Put scrfd_10g_bnkps.onnx (17 MB) and glintr100.onnx (261 MB) of antelopev2 in"
    assert f"{put} {first / 'models' / 'antelopev2'}" in text
    for name in ("scrfd_10g_bnkps.onnx", "glintr100.onnx"):
        assert f"https://huggingface.co/DIAMONIK7777/antelopev2/resolve/main/{name}" in text


def test_what_a_removal_left_of_onnxruntime_is_told_with_the_command_that_repairs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(onnxruntime, "get_available_providers")
    with pytest.raises(MissingDependencyError, match="onnxruntime is installed, but cannot be"):
        runtime.available_providers()


def test_without_any_folder_for_face_packs_their_usual_place_is_named() -> None:
    with pytest.raises(MissingFileError) as caught:
        find_pack("antelopev2", [])
    assert str(Path("models") / "insightface" / "models" / "antelopev2") in str(caught.value)


def test_packs_are_found_by_their_names(tmp_path: Path, pack_files: Path) -> None:
    for number in (1, 2):
        shutil.copytree(pack_files, tmp_path / "models" / f"pack{number}")
    for number in (1, 2):
        folder = tmp_path / "models" / f"pack{number}"
        assert find_pack(f"pack{number}", [tmp_path]).detector.parent == folder
        assert find_recogniser(f"pack{number}", [tmp_path]).parent == folder
    with pytest.raises(MissingFileError, match="The face pack pack3 has no recogniser of 112"):
        find_recogniser("pack3", [tmp_path])


def test_files_that_are_no_onnx_models_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"<html>404</html>")
    (tmp_path / "empty.onnx").touch()
    assert read_signature(tmp_path / "broken.onnx") in (None, Signature((), ()))
    assert read_signature(tmp_path / "empty.onnx") is None
    with pytest.raises(MissingFileError, match="lacks a detector .* and a recogniser"):
        find_pack("antelopev2", [tmp_path])


def test_the_signature_is_what_onnxruntime_reads(pack_files: Path) -> None:
    for path in pack_files.glob("*.onnx"):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        signature = read_signature(path)
        assert signature is not None
        assert [list(shape) for shape in signature.inputs] == [
            i.shape for i in session.get_inputs()
        ]
        assert [list(shape) for shape in signature.outputs] == [
            o.shape for o in session.get_outputs()
        ]


def test_fields_that_a_later_onnx_may_add_are_passed_over(tmp_path: Path, pack_files: Path) -> None:
    # Field 127 with eight bytes, four bytes, a number and a text, before everything else.
    eight, four = b"\xf9\x07" + b"\x0a" * 8, b"\xfd\x07" + b"\x0a" * 4
    unknown = eight + four + b"\xf8\x07\x96\x01" + b"\xfa\x07\x03abc"
    for path in pack_files.glob("*.onnx"):
        later = tmp_path / path.name
        later.write_bytes(unknown + path.read_bytes())
        assert read_signature(later) == read_signature(path) is not None
    inner = "62 05 0a 03 6f 75 74 6a 05 0a 03 6d 69 64"  # output `out`, value_info `mid`
    later.write_bytes(bytes.fromhex("3a 0e" + inner))
    assert read_signature(later) == Signature((), ((),))


def test_a_damaged_model_file_is_named(tmp_path: Path, pack_files: Path) -> None:
    folder = tmp_path / "antelopev2"
    shutil.copytree(pack_files, folder)
    whole = (folder / "scrfd_10g_bnkps.onnx").read_bytes()
    damaged = whole.replace(b"Conv", b"Cnov").replace(b"Concat", b"Cnocat")
    (folder / "scrfd_10g_bnkps.onnx").write_bytes(damaged)
    with pytest.raises(WrongFileError, match=r"cannot open .*scrfd_10g_bnkps.onnx .*fresh copy"):
        open_analyzer(find_pack("antelopev2", [tmp_path]))


def test_only_the_detector_and_the_recogniser_are_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pack_files: Path
) -> None:
    folder = tmp_path / "antelopev2"
    shutil.copytree(pack_files, folder)
    for name in ("1k3d68", "2d106det", "genderage"):
        (folder / f"{name}.onnx").write_bytes(b"never opened")
    opened: list[str] = []
    real = runtime.open_session

    def watch(path: Path, *rest: Any, **named: Any) -> Any:
        opened.append(path.name)
        return real(path, *rest, **named)

    monkeypatch.setattr("faithful_instantid.instantid_core.faces.analyzer.open_session", watch)
    open_analyzer(find_pack("antelopev2", [tmp_path]))
    assert sorted(opened) == ["glintr100.onnx", "scrfd_10g_bnkps.onnx"]


# Recognisers of another embedding space.


@pytest.mark.parametrize("sha256", WRONG)
def test_a_recogniser_known_to_be_wrong_is_refused_with_the_reason(
    tmp_path: Path, sha256: str
) -> None:
    path = tmp_path / "glintr100.onnx"
    with pytest.raises(WrongFileError) as caught:
        check_recogniser(path, sha256)
    text = str(caught.value)
    assert text.startswith(f"{path} is the recogniser of ")
    assert "the picture shows somebody else" in text
    assert "Put antelopev2's glintr100.onnx (261 MB) in its place" in text


def test_who_chose_the_pack_buffalo_l_is_told_to_choose_antelopev2(tmp_path: Path) -> None:
    sha256 = next(key for key, words in WRONG.items() if "buffalo_l" in words)
    with pytest.raises(WrongFileError) as caught:
        check_recogniser(tmp_path / "buffalo_l" / "w600k_r50.onnx", sha256)
    text = str(caught.value)
    assert text.startswith("The face pack buffalo_l was chosen; w600k_r50.onnx in it is ")
    assert "Choose antelopev2 in the loader" in text
    assert "in its place" not in text  # buffalo_l is whole, and others need it


def test_the_checksum_is_taken_of_the_file_that_is_opened(
    monkeypatch: pytest.MonkeyPatch, insightface_folder: Path, pack_files: Path
) -> None:
    from faithful_instantid.instantid_core.faces import recognisers
    from faithful_instantid.instantid_core.faces.analyzer import as_analyzer

    sha256 = recognisers.file_sha256(pack_files / "glintr100.onnx")
    monkeypatch.setitem(recognisers.WRONG, sha256, "the recogniser of a test")
    with pytest.raises(WrongFileError, match="is the recogniser of a test"):
        open_analyzer(find_pack("antelopev2", [insightface_folder]))
    foreign = FaceAnalysis(name="antelopev2", root=str(insightface_folder))
    with pytest.raises(WrongFileError, match="is the recogniser of a test"):
        as_analyzer(foreign)


def test_an_unknown_recogniser_works_with_one_warning(
    caplog: pytest.LogCaptureFixture, insightface_folder: Path
) -> None:
    open_analyzer(find_pack("antelopev2", [insightface_folder]), "CPU")
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "is not antelopev2's glintr100.onnx (its sha256 begins with " in warnings[0]


def test_antelopev2s_own_recogniser_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    check_recogniser(Path("glintr100.onnx"), ANTELOPEV2)
    assert not caplog.records


# Row 7: providers.

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def test_auto_takes_what_is_there_and_the_cpu_last(caplog: pytest.LogCaptureFixture) -> None:
    offered = [CPU, "TensorrtExecutionProvider", "DmlExecutionProvider", CUDA]
    assert runtime.wanted_providers("auto", offered) == [CUDA, "DmlExecutionProvider", CPU]
    assert runtime.wanted_providers("auto", [CPU]) == [CPU]
    assert runtime.wanted_providers("CPU", offered) == [CPU]
    assert runtime.wanted_providers("CUDA", offered) == [CUDA, CPU]
    assert not caplog.records


def test_a_provider_that_is_not_offered_falls_back_with_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert runtime.wanted_providers("ROCm", ["AzureExecutionProvider", CPU]) == [CPU]
    assert [record.getMessage() for record in caplog.records] == [
        "onnxruntime offers no ROCMExecutionProvider here (it offers: AzureExecutionProvider, "
        "CPUExecutionProvider); faces are found on the CPU."
    ]


@pytest.mark.parametrize("choice", ["auto", "CUDA"])
def test_onnxruntime_gpu_without_cuda_is_explained_with_the_repair_command(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, choice: str
) -> None:
    known = importlib.metadata.distribution

    def distribution(name: str) -> Any:
        return known("onnxruntime") if name == "onnxruntime-gpu" else known(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    assert runtime.wanted_providers(choice, [CPU]) == [CPU]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith(
        "onnxruntime-gpu is installed, but offers no CUDA: the package onnxruntime has overwritten "
        f"its files. Repair it with: {REPAIR}"
    )


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(WrongInputError, match="The provider 'TPU' is unknown; wanted one of: auto"):
        runtime.wanted_providers("TPU", [CPU])


class FailsWithCuda(onnxruntime.InferenceSession):
    """A session that fails as one does whose CUDA libraries cannot be loaded."""

    def __init__(self, path: str, sess_options: Any = None, providers: Any = None) -> None:
        if providers[0][0] == CUDA:
            raise RuntimeError("CUDA_PATH is set but CUDA wasnt able to be loaded")
        super().__init__(path, sess_options=sess_options, providers=providers)


@pytest.mark.parametrize("session_type", [FailsWithCuda, None])
def test_a_provider_that_fails_at_session_creation_falls_back_with_one_log_line(
    caplog: pytest.LogCaptureFixture, pack_files: Path, session_type: Any
) -> None:
    # Without a type of its own it is onnxruntime itself that leaves CUDA out and goes on.
    if session_type is None:
        caplog.set_level(logging.WARNING)
    path = pack_files / "scrfd_10g_bnkps.onnx"
    session = runtime.open_session(path, [CUDA, CPU], session_type, pixels=4)
    assert session.get_providers() == [CPU]
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert line.startswith(f"scrfd_10g_bnkps.onnx does not work with {CUDA} (")
    assert line.endswith("); it runs on the CPU.")


class WithCuda(onnxruntime.InferenceSession):
    """A session that runs on the CPU, and says what one on a GPU says."""

    def __init__(self, path: str, sess_options: Any = None, providers: Any = None) -> None:
        super().__init__(path, sess_options=sess_options, providers=[CPU])

    def get_providers(self) -> list[str]:
        return [CUDA, CPU]


def test_nothing_is_logged_where_the_provider_is_the_one_that_was_asked_for(
    caplog: pytest.LogCaptureFixture, pack_files: Path
) -> None:
    path = pack_files / "scrfd_10g_bnkps.onnx"
    runtime.open_session(path, [CUDA, CPU], WithCuda, pixels=4)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


class Asked(onnxruntime.InferenceSession):
    """A session that keeps what it was asked for, and runs on the CPU."""

    def __init__(self, path: str, sess_options: Any = None, providers: Any = None) -> None:
        super().__init__(path, sess_options=sess_options, providers=[CPU])
        self.asked = providers


def test_on_cuda_no_algorithms_are_tried_out_and_memory_is_taken_as_needed_within_a_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pack_files: Path
) -> None:
    shutil.copytree(pack_files, tmp_path / "antelopev2")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Asked)
    models = open_analyzer(find_pack("antelopev2", [tmp_path]), "CUDA").models
    largest = {"detection": 2560 * 2560, "recognition": 112 * 112}
    for name, pixels in largest.items():
        weights = Path(models[name].model_file).stat().st_size
        bound = runtime.memory_bound(weights, pixels)
        options = {
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
            "gpu_mem_limit": str(bound),
        }
        assert models[name].session.asked == [(CUDA, options), (CPU, {})]


def test_the_bound_of_memory_on_cuda_is_counted_from_weights_and_pixels() -> None:
    mib = 2**20
    empty = runtime.memory_bound(0, 0)
    assert empty == 256 * mib
    assert runtime.memory_bound(10 * mib, 0) - empty == 20 * mib
    assert runtime.memory_bound(0, 1000) - empty == 512 * 1000
    # antelopev2's own files, at the largest input of each: within a card of 8 GB together.
    detector = runtime.memory_bound(16_923_827, 2560 * 2560)
    recogniser = runtime.memory_bound(260_665_334, 112 * 112)
    assert 3 * 2**30 < detector < 4 * 2**30
    assert 500 * mib < recogniser < 800 * mib


# What onnxruntime prints.


class Prints(onnxruntime.InferenceSession):
    """A session that prints while it is made, as another thread does meanwhile."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        sys.stdout.write("of this thread\n")
        other = threading.Thread(target=lambda: sys.stdout.write("of another thread\n"))
        other.start()
        other.join()
        assert not sys.stdout.closed  # what else a stream has is the real one's


def test_what_other_threads_print_while_a_model_is_opened_is_not_swallowed(
    capsys: pytest.CaptureFixture[str], pack_files: Path
) -> None:
    runtime.open_session(pack_files / "scrfd_10g_bnkps.onnx", [CPU], Prints, pixels=4)
    sys.stdout.write("afterwards\n")
    assert capsys.readouterr().out == "of another thread\nafterwards\n"

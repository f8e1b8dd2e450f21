"""Videos are read frame by frame, as ComfyUI's own nodes hand their pictures out."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from comfy_api.latest import Input, InputImpl, Types
from faithful_instantid.devtools.standins import faces as standins
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core.errors import WrongFileError, WrongInputError
from faithful_instantid.instantid_core.faces import FaceAnalyzer, find_pack, open_analyzer
from faithful_instantid.instantid_core.host.footage import footage_of
from faithful_instantid.nodes.video import FollowFace

WIDTH, HEIGHT, FRAMES, RATE = 320, 180, 24, 8


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """A face that walks to the right."""
    frames = [draw_faces([DrawnFace(60 + 8 * n, 90, 80)], WIDTH, HEIGHT) for n in range(FRAMES)]
    return torch.from_numpy(np.stack(frames)).float() / 255


@pytest.fixture(scope="module")
def in_memory(images: torch.Tensor) -> Any:
    return InputImpl.VideoFromComponents(
        Types.VideoComponents(images=images, audio=None, frame_rate=Fraction(RATE))
    )


@pytest.fixture(scope="module")
def path(in_memory: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = str(tmp_path_factory.mktemp("films") / "film.mp4")
    in_memory.save_to(file)
    return file


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory: pytest.TempPathFactory) -> FaceAnalyzer:
    pack = tmp_path_factory.mktemp("insightface") / "models" / "antelopev2"
    pack.mkdir(parents=True)
    standins.make_pack(pack)
    return open_analyzer(find_pack("antelopev2", [pack.parent.parent]), "CPU")


def handed_out(video: Any) -> list[np.ndarray]:
    """What Get Video Components hands out, as BGR bytes."""
    whole = (video.get_components().images * 255).round().byte().numpy()
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in whole]


def assert_as_handed_out(video: Any) -> int:
    footage, wanted = footage_of(video), handed_out(video)
    found = list(footage)
    assert len(found) == len(wanted) == len(footage)
    for n, one in enumerate(found):
        assert one.shape == wanted[n].shape and one.flags.c_contiguous
        # As bytes here, as floats there: colours at edges differ by some steps.
        away = [float(np.abs(one.astype(int) - other).mean()) for other in wanted]
        assert int(np.argmin(away)) == n and away[n] < 2.0
    return len(found)


def test_a_file_gives_the_frames_that_comfyui_hands_out(path: str) -> None:
    assert assert_as_handed_out(InputImpl.VideoFromFile(path)) == FRAMES


@pytest.mark.parametrize("cut", [(1.0, 1.5), (-1.0, 0.5), (2.0, 0.0)])
def test_a_slice_of_a_file_gives_its_frames_alone(path: str, cut: tuple[float, float]) -> None:
    video = InputImpl.VideoFromFile(path)
    sliced = video.as_trimmed(start_time=cut[0], duration=cut[1])
    if sliced is None or not hasattr(sliced, "get_components"):
        pytest.skip("this ComfyUI does not cut videos")
    assert 3 <= assert_as_handed_out(sliced) < FRAMES


def test_a_file_is_never_read_whole(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    video = InputImpl.VideoFromFile(path)

    def read_whole() -> Any:
        raise AssertionError("the video was read whole")

    monkeypatch.setattr(video, "get_components", read_whole)
    frames = iter(footage_of(video))
    assert isinstance(frames, Iterator) and next(frames).shape == (HEIGHT, WIDTH, 3)


def test_pictures_are_not_encoded_on_the_way(in_memory: Any, images: torch.Tensor) -> None:
    """A video made of pictures, or a batch, gives these very pictures."""
    wanted = (images * 255).round().byte().numpy()[..., ::-1]
    for given in (in_memory, images):
        footage = footage_of(given)
        assert len(footage) == FRAMES
        assert all(np.array_equal(a, b) for a, b in zip(footage, wanted, strict=True))


def test_a_damaged_file_gets_a_sentence_and_damaged_packets_are_left_out(
    path: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a film" * 100)
    with pytest.raises(WrongFileError, match="The video cannot be read"):
        list(footage_of(InputImpl.VideoFromFile(str(broken))))
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(8000)
        written.writeframes(bytes(16000))
    with pytest.raises(WrongFileError, match="The video cannot be read"):
        len(footage_of(InputImpl.VideoFromFile(str(sound))))
    content = bytearray(Path(path).read_bytes())
    place = content.index(b"mdat") + len(content) // 4  # within the pictures
    content[place : place + 200] = bytes(200)
    holed = tmp_path / "holed.mp4"
    holed.write_bytes(content)
    found = list(footage_of(InputImpl.VideoFromFile(str(holed))))
    assert 1 <= len(found) <= FRAMES and found[0].shape == (HEIGHT, WIDTH, 3)


def test_anything_else_is_refused() -> None:
    with pytest.raises(WrongInputError, match="`video` is a text; wanted an IMAGE or a VIDEO"):
        footage_of("film.mp4")
    with pytest.raises(WrongInputError, match="The picture has the size 4 x 4"):
        footage_of(torch.zeros(4, 4))


def test_the_node_takes_a_video_and_finds_what_is_in_its_pictures(
    path: str, analyzer: FaceAnalyzer
) -> None:
    video: Input.Video = InputImpl.VideoFromFile(path)
    from_file = FollowFace.execute(analyzer, video, "longest", 0, "find")
    from_pictures = FollowFace.execute(
        analyzer, video.get_components().images, "longest", 0, "find"
    )
    assert len(from_file[0].frames) == FRAMES and from_file[2] == ""
    for n, (a, b) in enumerate(zip(from_file[0].frames, from_pictures[0].frames, strict=True)):
        (one,), (other,) = a, b
        for face in (one, other):
            assert np.abs(face.kps - DrawnFace(60 + 8 * n, 90, 80).kps).max() < 2.0

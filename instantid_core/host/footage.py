"""The frames of an IMAGE batch or of ComfyUI's VIDEO, one by one."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
from comfy_api.latest import Input
from torch import Tensor

from .. import checks
from ..errors import WrongFileError, WrongInputError
from ..faces.following import Footage
from ..images import Picture, each_picture, image_batch


def footage_of(found: Any) -> Footage:
    """Return the frames of what an IMAGE or a VIDEO socket brought.

    A video that lies in a file is read frame by frame and never whole. Raises WrongInputError, and
    WrongFileError, also while frames are handed out, for a file that cannot be read.
    """
    if isinstance(found, Tensor):
        return _Batch(found)
    if not isinstance(found, Input.Video):
        raise WrongInputError(
            f"`video` is {checks.kind_of(found)}; wanted an IMAGE or a VIDEO. Connect Load Video, "
            "or pictures."
        )
    window = _trim_window(found) if _lies_in_a_file(found) else None
    if window is None:
        return _Batch(found.get_components().images)
    return _File(found, *window)


def _lies_in_a_file(video: Input.Video) -> bool:
    """Whether there is a file to read: a video made of pictures would be encoded anew for it."""
    return type(video).get_stream_source is not Input.Video.get_stream_source


def _tells_its_window(video: Any) -> bool:
    """Whether this ComfyUI tells what was cut out of a file, and turns what was filmed turned."""
    return hasattr(video, "get_active_trim_window")


class _Batch:
    """The pictures of an IMAGE batch."""

    def __init__(self, images: Tensor) -> None:
        self._images = image_batch(images)

    def __len__(self) -> int:
        return self._images.shape[0]

    def __iter__(self) -> Iterator[Picture]:
        return each_picture(self._images)


class _File:
    """The frames of a video in a file, from a begin on, for a time; all in seconds."""

    def __init__(self, video: Any, begin: float, duration: float) -> None:
        """duration: 0 is up to the end."""
        self._video, self._begin, self._duration = video, begin, duration

    def __len__(self) -> int:
        with _readable():
            seconds, rate = self._video.get_duration(), self._video.get_frame_rate()
        return max(1, round(seconds * float(rate)))

    def __iter__(self) -> Iterator[Picture]:
        with _opened(self._video) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            upright = _tells_its_window(self._video)
            begin = int(self._begin / stream.time_base)
            end = int((self._begin + self._duration) / stream.time_base)
            if begin:
                container.seek(begin, stream=stream)
            for frame in _decoded(container, stream):
                if frame.pts is not None and frame.pts < begin:
                    continue
                if self._duration and frame.pts is not None and frame.pts >= end:
                    break
                yield _picture(frame, upright)


def _picture(frame: Any, upright: bool) -> Picture:
    """Return a frame as this ComfyUI hands it out: (H, W, 3) BGR bytes; upright: turned upright."""
    pixels = frame.to_ndarray(format="bgr24")
    quarters = round(frame.rotation / 90) if upright else 0
    return np.ascontiguousarray(np.rot90(pixels, k=quarters) if quarters else pixels)


def _reader() -> Any:
    """Return PyAV, which reads ComfyUI's videos, imported at first use."""
    return importlib.import_module("av")


@contextlib.contextmanager
def _readable() -> Generator[None, None, None]:
    """Turn what PyAV raises, or ComfyUI of a file without pictures, into a WrongFileError."""
    try:
        yield
    except (_reader().error.FFmpegError, ValueError) as error:
        raise WrongFileError(
            f"The video cannot be read ({checks.said(error)}). Wanted: a file that a player shows, "
            "such as MP4 or WebM. Save it anew, or choose another file."
        ) from error


@contextlib.contextmanager
def _opened(video: Any) -> Generator[Any, None, None]:
    """Open a video's file. Raises WrongFileError."""
    with _readable(), _reader().open(video.get_stream_source(), mode="r") as container:
        yield container


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Hand out frames; packets that are damaged are left out, as ComfyUI leaves them out."""
    damaged = _reader().error.InvalidDataError
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except damaged:
            continue
        yield from frames


def _trim_window(video: Any) -> tuple[float, float] | None:
    """Return begin and duration in seconds of what was cut out of a file; None if nobody tells.

    Older ComfyUI does not tell: there a video as long as its file was not cut.
    """
    if _tells_its_window(video):
        with _readable():
            return video.get_active_trim_window()
    with _opened(video) as container:
        whole, unit = container.duration, _reader().time_base
        is_whole = whole is not None and abs(whole / unit - video.get_duration()) < 1e-6
    return (0.0, 0.0) if is_whole else None

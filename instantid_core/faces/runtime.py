"""insightface and onnxruntime: imported at first use, with a way out when they are missing."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from .. import checks
from ..errors import MissingDependencyError, WrongInputError
from ..log import log, warn
from ..memory import refuse_shortage

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# What the loader offers, by the name users know, in the order `auto` prefers them. TensorRT is
# left out: it rebuilds its engine for minutes at every new picture size.
PROVIDERS = {
    "CUDA": CUDA,
    "ROCm": "ROCMExecutionProvider",
    "MIGraphX": "MIGraphXExecutionProvider",
    "DirectML": "DmlExecutionProvider",
    "CoreML": "CoreMLExecutionProvider",
    "CPU": CPU,
}
AUTO = "auto"

# Of a session on CUDA, counted: its weights, which lie there twice while it is opened; for each
# pixel of the largest input what the widest layers of SCRFD hold at once, 28 and 56 channels at a
# quarter of the pixels in float32 (84 bytes), and the scratch of their convolutions, up to five
# times that; and some room.
WEIGHTS_TIMES = 2
BYTES_PER_PIXEL = 512
ROOM = 256 * 2**20

REPAIR_GPU = "-m pip install --force-reinstall --no-deps onnxruntime-gpu"
INSTALL = '-m pip install "insightface>=1.0.1" onnxruntime'


def this_python() -> str:
    """Return the running interpreter as a command line names it."""
    return f'"{sys.executable}"' if " " in sys.executable else sys.executable


def import_package(name: str) -> Any:
    """Import insightface, onnxruntime or a module of theirs.

    Raises MissingDependencyError with the command that installs or repairs it for the Python that
    runs ComfyUI.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken binary raises ValueError, OSError, ... from its depths
        refuse_shortage(error, f"import {name}")
        raise MissingDependencyError(_import_failure(name.split(".")[0], error)) from error


def _import_failure(package: str, error: Exception) -> str:
    missing = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing == package:
        return (
            f"The Python package {package} is not installed for the Python that runs ComfyUI; "
            f"finding faces needs it. Run: {this_python()} {INSTALL}"
        )
    if missing:
        return (
            f"{package} is installed, but the package {missing}, which it needs, is not. "
            f"Run: {this_python()} {INSTALL}"
        )
    return (
        f"{package} is installed, but cannot be imported ({checks.said(error)}). "
        f"Repair it with: {this_python()} {INSTALL.replace('install', 'install --upgrade', 1)}"
    )


def available_providers() -> list[str]:
    """Return the execution providers that onnxruntime offers here.

    Raises MissingDependencyError, also for what a removal left behind of the package.
    """
    onnxruntime = import_package("onnxruntime")
    try:
        return list(onnxruntime.get_available_providers())
    except AttributeError as error:
        raise MissingDependencyError(_import_failure("onnxruntime", error)) from error


def wanted_providers(choice: str, available: Sequence[str]) -> list[str]:
    """Return the execution providers to ask for, CPU always last.

    choice: `auto` or a name in `PROVIDERS`. available: what onnxruntime says it offers.

    A provider that onnxruntime does not offer is left out with one log line. Raises
    WrongInputError for an unknown choice.
    """
    if choice not in (AUTO, *PROVIDERS):
        raise WrongInputError(
            f"The provider {checks.shown(choice)} is unknown; wanted one of: "
            f"{', '.join([AUTO, *PROVIDERS])}."
        )
    asked = list(PROVIDERS.values()) if choice == AUTO else [PROVIDERS[choice], CPU]
    found = [provider for provider in asked if provider in available and provider != CPU]
    if choice not in (AUTO, "CPU") and not found:
        warn(
            f"onnxruntime offers no {PROVIDERS[choice]} here (it offers: {', '.join(available)}); "
            f"faces are found on the CPU.{_gpu_hint(available)}"
        )
    elif choice == AUTO and _gpu_hint(available):
        warn(f"Faces are found on the CPU.{_gpu_hint(available)}")
    return [*found, CPU]


def _gpu_hint(available: Sequence[str]) -> str:
    """Return the sentence for an onnxruntime-gpu that lost its CUDA provider, else nothing."""
    if CUDA in available or not is_installed("onnxruntime-gpu"):
        return ""
    return (
        " onnxruntime-gpu is installed, but offers no CUDA: the package onnxruntime has overwritten"
        f" its files. Repair it with: {this_python()} {REPAIR_GPU}"
    )


def is_installed(distribution: str) -> bool:
    """Say whether pip knows a distribution of that name in this Python."""
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def memory_bound(weights: int, pixels: int) -> int:
    """Return how many bytes a session on CUDA may take.

    weights: bytes of its file. pixels: of its largest input.
    """
    return WEIGHTS_TIMES * weights + BYTES_PER_PIXEL * pixels + ROOM


def provider_options(provider: str, bound: int) -> dict[str, str]:
    """Return what a provider is told. bound: bytes that it may take, see `memory_bound`.

    The detector runs at several sizes. CUDA would try every algorithm of cuDNN at each new one, and
    take twice the memory that it needs, without a limit and without ComfyUI knowing of it; CoreML's
    compiled parts take one size only.
    """
    if provider == CUDA:
        return {
            "cudnn_conv_algo_search": "HEURISTIC",
            "arena_extend_strategy": "kSameAsRequested",
            "gpu_mem_limit": str(bound),
        }
    return {"RequireStaticInputShapes": "1"} if provider == PROVIDERS["CoreML"] else {}


def is_on_cpu(session: Any) -> bool:
    """Say whether a session runs on the CPU alone; one that cannot tell does not."""
    ask = getattr(session, "get_providers", None)
    return ask is not None and list(ask()) == [CPU]


def open_session(
    path: Path, providers: Sequence[str], session_type: Any = None, *, pixels: int
) -> Any:
    """Open an ONNX file on the first of `providers` that works.

    path: the .onnx file. providers: names, CPU last. session_type: InferenceSession unless told.
    pixels: of the largest input it will get, which bounds the memory it may take on CUDA.

    A provider that fails while the session is made is left, with one log line, for the CPU.
    """
    onnxruntime = import_package("onnxruntime")
    session_type = session_type or onnxruntime.InferenceSession
    if CUDA in providers:
        _preload_cuda(onnxruntime)
    try:
        session = _open(onnxruntime, session_type, path, providers, pixels)
    except Exception as error:
        if list(providers) == [CPU]:
            raise
        _log_fallback(path, providers, f"{type(error).__name__}: {error}")
        return _open(onnxruntime, session_type, path, [CPU], pixels)
    if session.get_providers()[0] != providers[0]:
        _log_fallback(path, providers, f"it opened with {', '.join(session.get_providers())}")
    return session


def _open(
    onnxruntime: Any, session_type: Any, path: Path, providers: Sequence[str], pixels: int
) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: it warns at every size the detector runs at
    bound = memory_bound(path.stat().st_size, pixels)
    asked = [(name, provider_options(name, bound)) for name in providers]
    with hushed() as said:
        session = session_type(str(path), sess_options=options, providers=asked)
    if said.getvalue():
        log.debug("onnxruntime, opening %s: %s", path.name, said.getvalue().strip())
    return session


class _Listener:
    """Standard output that keeps what one thread prints; all else goes where it always went."""

    def __init__(self, stream: Any) -> None:
        self.kept = io.StringIO()
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        own = threading.get_ident() == self._thread
        return (self.kept if own else self._stream).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_one_listener = threading.Lock()  # each puts back what it found


@contextlib.contextmanager
def hushed() -> Generator[io.StringIO, None, None]:
    """Keep what this thread prints from the screen, and yield it; other threads print as usual."""
    with _one_listener:
        listener: Any = _Listener(sys.stdout)
        with contextlib.redirect_stdout(listener):
            yield listener.kept


def _log_fallback(path: Path, providers: Sequence[str], reason: str) -> None:
    warn(f"{path.name} does not work with {providers[0]} ({reason}); it runs on the CPU.")


def _preload_cuda(onnxruntime: Any) -> None:
    """Load the CUDA and cuDNN libraries that came with torch, where onnxruntime offers that."""
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is None:
        return
    try:
        with hushed() as said:
            preload()
    except Exception as error:
        log.debug("onnxruntime could not preload CUDA: %s", error)
    else:
        log.debug("onnxruntime, preloading CUDA: %s", said.getvalue().strip())

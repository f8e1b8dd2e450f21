"""Trials of deliberate faults: a copy of the checkout, and the tests that run the changed lines."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from comfy_server import end_with_parent
from line_tests import (
    EVERY,
    Contexts,
    Durations,
    Only,
    body_around,
    measured,
    quickest,
    tests_of,
)

SECONDS = 900  # for the tests of one fault; what takes longer is noticed
BUDGET = 40.0  # seconds of the quickest tests, for a fault that is tried for the first time
PRODUCT = ("nodes", "instantid_core")
# What the tests of those tiers do not read: a change of it leaves what was measured in use.
UNREAD = (".github/", "docs/", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
# Slow to import, and the same for every fault: done once, before processes are split off.
PRELOADED = (
    *("cv2", "insightface", "onnx", "onnxruntime", "pytest", "scipy", "safetensors.torch"),
    *("comfy.controlnet", "comfy.sd", "comfy.samplers", "comfy_api.latest", "folder_paths"),
)


class UnsoundError(RuntimeError):
    """Tests fail without any fault: they can say nothing about one."""


class Trials:
    """A copy of a checkout in which faults are tried, each in a process of its own.

    It lies in a folder named by what is in the checkout, with what the tests did without a fault,
    so that this is found out once.
    """

    def __init__(self, root: Path, parent: Path) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=root, check=True, capture_output=True, text=True,
        )  # fmt: skip
        names = [name for name in listed.stdout.splitlines() if (root / name).is_file()]
        content = hashlib.sha256()
        for name in (one for one in names if not one.startswith(UNREAD)):
            content.update(name.encode() + hashlib.sha256((root / name).read_bytes()).digest())
        folder = parent / content.hexdigest()[:16]
        for other in parent.iterdir() if parent.is_dir() else ():
            if other != folder:
                shutil.rmtree(other)  # of another state of the checkout
        self.copy = folder / "checkout"
        for name in names:
            place = self.copy / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, place)
        self.folder = folder
        self.log = folder / "pytest.log"
        self._runs: dict[str, Path | None] = {}
        self._seconds: dict[str, dict[str, float]] = {}

    def chosen(
        self, module: str, line: int, files: Sequence[str], budget: float = BUDGET
    ) -> list[str]:
        """Return the tests that run the function around a line of a module, quickest first.

        files: where they are looked for. budget: seconds; what takes longer in all is left out.
        Raises UnsoundError if the tests of a file fail without a fault.
        """
        place = self.copy / module
        lines = body_around(place.read_text(encoding="utf-8"), line)
        seconds: dict[str, float] = {}
        for file in files:
            data = self._run_of(file)
            names = {EVERY} if data is None else tests_of(data, place, lines)
            own = self._seconds[file]
            seconds |= own if EVERY in names else {name: own[name] for name in names}
        return quickest(seconds, budget)

    def is_noticed(self, module: str, code: str, chosen: Sequence[str]) -> bool:
        """Tell whether tests fail, or hang, with a fault: `code` in the place of the module."""
        if not chosen:
            return False
        place = self.copy / module
        sound = place.read_text(encoding="utf-8")
        try:
            place.write_text(code, encoding="utf-8")
            files = list(dict.fromkeys(nodeid.partition("::")[0] for nodeid in chosen))
            return not self.pass_(files, Only(chosen))
        finally:
            place.write_text(sound, encoding="utf-8")

    def _run_of(self, file: str) -> Path | None:
        """Return what coverage saw of a file's tests; None for tests that fail when looked at."""
        if file not in self._runs:
            data = self.folder / f"{file.replace('/', '-')}.coverage"
            print(f"what {file} runs without a fault", flush=True)
            durations = Durations(data.with_suffix(".json"))
            is_known = durations.place.is_file()
            if is_known or self.pass_([file], durations, data=data):
                self._runs[file] = data if data.is_file() else None
            elif self.pass_([file], durations):
                self._runs[file] = None
            else:
                durations.place.unlink(missing_ok=True)
                said = self.log.read_text(encoding="utf-8", errors="replace")
                raise UnsoundError(f"Without a fault {file} fails:\n{said[-3000:]}")
            told = durations.place.read_text(encoding="utf-8")
            self._seconds[file] = json.loads(told)
        return self._runs[file]

    def pass_(self, files: Sequence[str], *plugins: object, data: Path | None = None) -> bool:
        """Run test files in a process split off from this one; tell whether all of them pass.

        data: where to write which test ran which lines.
        """
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            end_with_parent()
            os._exit(self._pytest(files, plugins, data))
        end = time.monotonic() + SECONDS
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status) == 0
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return False
            time.sleep(0.05)

    def _pytest(self, files: Sequence[str], plugins: Sequence[object], data: Path | None) -> int:
        import pytest

        os.chdir(self.copy)
        sys.dont_write_bytecode = True  # a fault and its absence may be written in one second
        with self.log.open("wb") as log:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=300"]
            if data is None:
                return int(pytest.main([*options, *files], plugins=plugins))
            coverage = measured(data, self.copy, PRODUCT)
            code = pytest.main([*options, *files], plugins=[*plugins, Contexts(coverage)])
            coverage.stop()
            coverage.save()
            return int(code)


def preload(comfyui: str, root: Path) -> None:
    """Import what every trial needs, so that the processes split off have it already."""
    sys.path.insert(0, comfyui)
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != root]
    sys.argv = ["pytest", "--cpu"]
    importlib.import_module("comfy.options").enable_args_parsing()
    import torch

    torch.set_num_threads(1)  # threads do not survive the split
    for name in PRELOADED:
        importlib.import_module(name)

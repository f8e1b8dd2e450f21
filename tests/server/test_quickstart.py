"""The README's first command: pictures, plain words, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from faithful_instantid.devtools.comfy_server import default_comfyui
from PIL import Image

from .conftest import ROOT

SCRIPT = ROOT / "devtools" / "quickstart.py"
LIMIT = 240.0  # seconds until the quickstart must have said something
SMALL = ("--steps", "1", "--width", "192", "--height", "128")

pytestmark = pytest.mark.skipif(os.name == "nt", reason="counts processes in /proc")


@contextmanager
def quickstart(
    output: Path, *arguments: str, wishes: tuple[str, ...] = SMALL
) -> Iterator[subprocess.Popen[str]]:
    """Run the part of the quickstart that follows the making of the environment."""
    command = [sys.executable, str(SCRIPT), "--output", str(output), *wishes, *arguments]
    variables = {
        **os.environ,
        "COMFYUI_PATH": str(default_comfyui()),
        "INSTANTID_QUICKSTART_STARTED": str(time.time()),
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=variables,
        preexec_fn=hear_ctrl_c,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def hear_ctrl_c() -> None:
    """Undo what a shell does to a command in its background: that one does not hear Ctrl+C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Return what the process printed up to the line with these words."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"it never said {words!r}, but:\n{''.join(lines)}")


def servers_of(output: Path) -> list[str]:
    """Return the command lines of running processes that work in the output's server folder."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"--base-directory {output / 'server'}" in command:
            found.append(command)
    return found


def gone(output: Path) -> bool:
    """Say whether no server works there any more, now or within moments."""
    end = time.monotonic() + 20
    while servers_of(output):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_it_leaves_a_picture_of_the_asked_size_and_the_drawn_keypoints(tmp_path: Path) -> None:
    with quickstart(tmp_path) as process:
        said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, said
    picture = Image.open(tmp_path / "picture.png")
    keypoints = np.asarray(Image.open(tmp_path / "keypoints.png"))
    assert picture.format == "PNG"
    assert picture.size == (192, 128)
    assert keypoints.shape == (128, 192, 3)
    colours = {tuple(colour) for colour in keypoints.reshape(-1, 3).tolist()}
    assert {(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)} <= colours
    assert str(tmp_path / "picture.png") in said
    assert str(tmp_path / "keypoints.png") in said
    assert "step 1 of 1" in said
    assert "Total: " in said
    assert "the picture means nothing" in said
    assert gone(tmp_path)


def test_without_wishes_it_leaves_a_sheet_of_drawn_people(tmp_path: Path) -> None:
    with quickstart(tmp_path, wishes=("--steps", "2")) as process:
        said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, said
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.format == "PNG"
    assert sheet.width > 5 * 256
    for name in ("with_instantid", "without", "another_prompt", "another_person", "two_people"):
        assert Image.open(tmp_path / f"{name}.png").size == (128, 128)
        assert f"Likeness to the first and the second person, {name}: " in said
    assert "says nothing about how real photos come out" in said
    assert "the picture means nothing" not in said
    assert gone(tmp_path)


def test_serve_keeps_the_server_until_ctrl_c(tmp_path: Path) -> None:
    with quickstart(tmp_path, "--serve") as process:
        said = read_until(process, "ComfyUI is at ")
        url = said.rpartition("ComfyUI is at ")[2].split()[0]
        with urllib.request.urlopen(f"{url}/system_stats", timeout=60) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert gone(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_cancelling_it_while_the_server_starts_leaves_no_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    with quickstart(tmp_path) as process:
        read_until(process, "Stand-in models ready")
        end = time.monotonic() + 60
        while not servers_of(tmp_path) and time.monotonic() < end:
            time.sleep(0.1)
        assert servers_of(tmp_path)
        process.send_signal(number)
        process.wait(60)
    assert gone(tmp_path)

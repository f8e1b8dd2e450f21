"""The rehearsal leaves the machine room, and takes InstantID out of a workflow."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from faithful_instantid.devtools.full_size import graph, limits

GIB = limits.GIB
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


PLACE = Path("somewhere")
ENOUGH: dict[str, Any] = {"memory": 17 * GIB, "disk": 14 * 10**9, "made": 0, "folder": PLACE}


def test_too_little_memory_is_refused_with_what_is_free_and_what_is_wanted() -> None:
    limits.refuse_too_little(**ENOUGH)
    with pytest.raises(SystemExit, match=r"^16\.0 GiB of memory are free, .* wants 17 GiB"):
        limits.refuse_too_little(**{**ENOUGH, "memory": 16 * GIB})


def test_too_little_disk_is_refused_unless_the_files_are_made_already() -> None:
    limits.refuse_too_little(**{**ENOUGH, "disk": 3 * 10**9, "made": 11 * 10**9})
    with pytest.raises(SystemExit, match=r"^10\.0 GB of disk are free under somewhere.* 14\.0"):
        limits.refuse_too_little(**{**ENOUGH, "disk": 10 * 10**9})


def test_the_highest_memory_of_a_server_is_kept_and_it_runs_on() -> None:
    with subprocess.Popen(SLEEPER) as server:
        with limits.watching(server.pid, 0.01) as peaks:
            time.sleep(0.5)
        assert peaks["resident"] >= peaks["own"] > 0
        assert server.poll() is None
        server.kill()


def test_a_server_that_leaves_the_machine_too_little_memory_is_ended_with_a_reason() -> None:
    said = pytest.raises(SystemExit, match=r"^Only .* GiB of memory were left .* It was ended; ")
    with said, subprocess.Popen(SLEEPER) as server, limits.watching(server.pid, 0.01, 1 << 60):
        assert server.wait(30) != 0


def test_available_memory_respects_the_limit_of_a_container(tmp_path: Path) -> None:
    free = limits.available_memory(tmp_path)
    assert 0 < free <= psutil.virtual_memory().total
    used = 6 * GIB
    (tmp_path / "memory.max").write_text(f"{used + GIB // 64}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {GIB // 64}\n")
    assert limits.available_memory(tmp_path) == GIB // 32
    (tmp_path / "memory.max").write_text("max\n")
    assert limits.available_memory(tmp_path) > GIB // 32


WORKFLOW: graph.Graph = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "good"}},
    "3": {"class_type": "IID_EncodeFace", "inputs": {"image": ["8", 0]}},
    "4": {
        "class_type": "IID_Apply",
        "inputs": {"model": ["1", 0], "positive": ["2", 0], "negative": ["9", 0], "weight": 0.8},
    },
    "6": {
        "class_type": "KSampler",
        "inputs": {"model": ["4", 0], "positive": ["4", 1], "negative": ["4", 2], "steps": 30},
    },
    "7": {"class_type": "SaveImage", "inputs": {"images": ["6", 0]}},
    "8": {"class_type": "LoadImage", "inputs": {"image": "face.png"}},
    "9": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "bad"}},
    "10": {"class_type": "PreviewImage", "inputs": {"images": ["3", 1]}},
}


def test_the_plain_workflow_is_the_same_one_with_instantid_bypassed() -> None:
    plain = graph.without_instantid(WORKFLOW)
    assert set(plain) == {"1", "2", "6", "7", "8", "9"}
    inputs = plain["6"]["inputs"]
    assert inputs["model"] == ["1", 0]
    assert inputs["positive"] == ["2", 0]
    assert inputs["negative"] == ["9", 0]
    assert WORKFLOW["6"]["inputs"]["model"] == ["4", 0]


def test_inputs_are_replaced_by_node_class_on_a_copy() -> None:
    changed = graph.with_inputs(WORKFLOW, {"KSampler": {"steps": 2}})
    assert changed["6"]["inputs"]["steps"] == 2
    assert WORKFLOW["6"]["inputs"]["steps"] == 30
    with pytest.raises(KeyError, match="no ControlNetLoader node"):
        graph.with_inputs(WORKFLOW, {"ControlNetLoader": {"control_net_name": "x"}})
    with pytest.raises(KeyError, match="KSampler has no input"):
        graph.with_inputs(WORKFLOW, {"KSampler": {"stepz": 2}})

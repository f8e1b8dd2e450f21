"""The commands of a fresh machine: the private environment and the test runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATE = (ROOT / ".dev").resolve()


@pytest.fixture(scope="module")
def runner(script_module: Callable[[str], ModuleType]) -> ModuleType:
    """devtools/test.py as a module."""
    return script_module("test")


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "devtools" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


# The scripts would make the usual environment anew for another Python.
on_the_usual_python = pytest.mark.skipif(
    STATE not in Path(sys.executable).parents or "-py" in sys.executable,
    reason="runs on another Python",
)


@on_the_usual_python
def test_a_second_call_is_quick_and_names_this_environment_in_its_last_line() -> None:
    started = time.monotonic()
    done = script("env.py")
    seconds = time.monotonic() - started
    answer = json.loads(done.stdout.splitlines()[-1])
    assert Path(answer["python"]) == Path(sys.executable)
    assert (Path(answer["comfyui"]) / "main.py").is_file()
    assert seconds < 2


def test_a_folder_that_is_no_comfyui_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    done = script("env.py", "--comfyui", str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path} is not a ComfyUI tree: it has no main.py" in done.stderr


def test_an_unknown_tier_is_answered_with_those_there_are() -> None:
    done = script("test.py", "cores")
    assert done.returncode == 2
    assert "no such tier: cores (there are core, host, server, browser" in done.stderr


@on_the_usual_python
def test_a_file_that_is_named_is_run_alone() -> None:
    alone = "tests/core/test_metadata.py::test_nothing_that_comfyui_itself_brings"
    done = script("test.py", "core", "--", f"{alone}_is_asked_for_or_pinned")
    assert done.stdout.splitlines()[-1].startswith("core     passed  1 passed, 0 failed")


def report(folder: Path, tests: int, failures: int, skipped: int) -> Path:
    path = folder / "report.xml"
    path.write_text(
        f'<testsuites><testsuite tests="{tests}" failures="{failures}" errors="0" '
        f'skipped="{skipped}"/></testsuites>'
    )
    return path


@pytest.mark.parametrize(
    ("code", "tests", "failures", "skipped", "passed", "text"),
    [
        (0, 3, 0, 1, True, "2 passed, 0 failed, 1 skipped"),
        (1, 3, 2, 0, False, "1 passed, 2 failed, 0 skipped"),
        (0, 3, 0, 3, False, "no test ran (0 passed, 0 failed, 3 skipped)"),
        (5, 0, 0, 0, False, "no test ran (0 passed, 0 failed, 0 skipped)"),
        (3, 2, 0, 0, False, "2 passed, 0 failed, 0 skipped, pytest exit code 3"),
    ],
    ids=["good", "failures", "all skipped", "nothing collected", "crash"],
)
def test_a_tier_passes_only_when_tests_ran_and_none_failed(
    runner: ModuleType,
    tmp_path: Path,
    code: int,
    tests: int,
    failures: int,
    skipped: int,
    passed: bool,
    text: str,
) -> None:
    assert runner.judge(code, report(tmp_path, tests, failures, skipped)) == (passed, text)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups of this kind")
def test_a_tier_that_hangs_is_stopped_with_all_it_started(
    runner: ModuleType, tmp_path: Path
) -> None:
    number = tmp_path / "pid"
    child = f"import os, time; open({str(number)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    code = runner.run_with_limit([sys.executable, "-c", parent], dict(os.environ), 2)
    assert code is None
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(int(number.read_text()), 0)
            time.sleep(0.05)

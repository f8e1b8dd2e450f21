"""What the registry and pip are told about the pack."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def requirement_lines() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_registry_is_told_the_same_requirements_as_pip() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    with (ROOT / "pyproject.toml").open("rb") as file:
        told = tomllib.load(file)["project"]["dependencies"]
    assert [line.replace("'", '"') for line in told] == requirement_lines()


def test_nothing_that_comfyui_itself_brings_is_asked_for_or_pinned() -> None:
    names = [line.split(";")[0].strip() for line in requirement_lines()]
    assert names == ["insightface>=1.0.1", "onnxruntime-gpu"]

"""A release: the version and the changelog's head are written and checked."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = 'name = "pack"\nversion = "0.2.9"\nrequires-python = ">=3.10"\n'
CHANGELOG = "# Changelog\n\n## Unreleased\n\n- New.\n\n## 0.2.9 (2026-01-02)\n\n- Old.\n"
DAY = datetime.date(2026, 3, 4)


@pytest.fixture(scope="module")
def release(script_module: Callable[[str], ModuleType]) -> ModuleType:
    """devtools/release.py as a module."""
    return script_module("release")


def test_a_version_goes_up_and_nothing_else_changes(release: ModuleType) -> None:
    assert release.with_version(PROJECT, "0.2.10") == PROJECT.replace("0.2.9", "0.2.10")
    for same_or_lower in ("0.2.9", "0.1.10"):
        with pytest.raises(release.NotReadyError, match=r"is not above 0\.2\.9"):
            release.with_version(PROJECT, same_or_lower)
    with pytest.raises(release.NotReadyError, match="three numbers"):
        release.with_version(PROJECT, "0.3")


def test_what_is_unreleased_gets_a_head_and_a_day(release: ModuleType) -> None:
    made = release.with_head(CHANGELOG, "0.3.0", DAY)
    assert made.split("\n## ")[1:] == [
        "Unreleased\n",
        "0.3.0 (2026-03-04)\n\n- New.\n",
        "0.2.9 (2026-01-02)\n\n- Old.\n",
    ]
    with pytest.raises(release.NotReadyError, match="nothing under"):
        release.with_head(made, "0.4.0", DAY)


def test_a_tag_is_checked_against_both_files(release: ModuleType) -> None:
    release.check_texts(PROJECT, CHANGELOG, "0.2.9")
    with pytest.raises(release.NotReadyError, match=r"pyproject\.toml says 0\.2\.9"):
        release.check_texts(PROJECT, CHANGELOG, "0.3.0")
    with pytest.raises(release.NotReadyError, match="no head"):
        release.check_texts(PROJECT, CHANGELOG.replace("0.2.9 (", "0.2.8 ("), "0.2.9")


def test_this_project_could_be_released_now(release: ModuleType) -> None:
    project, changelog = (p.read_text("utf-8") for p in (release.PROJECT, release.CHANGELOG))
    release.check_texts(
        release.with_version(project, "999.0.0"),
        release.with_head(changelog, "999.0.0", DAY),
        "999.0.0",
    )

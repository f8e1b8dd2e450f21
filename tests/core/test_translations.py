"""A translation whose English has changed is known, and so is one that is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def translations(script_module: Callable[[str], ModuleType]) -> ModuleType:
    """devtools/translations.py as a module."""
    return script_module("translations")


def write(root: Path, language: str, **texts: str) -> None:
    folder = root / "locales" / language
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nodeDefs.json").write_text(json.dumps({"Node": texts}), encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path, translations: ModuleType) -> Path:
    """A checkout with two texts in four languages, none of them due."""
    for language in ("en", *translations.LANGUAGES):
        write(tmp_path, language, title=f"{language} title", note=f"{language} note")
    translations.record(tmp_path)
    return tmp_path


def test_no_translation_of_this_pack_is_due(translations: ModuleType) -> None:
    due = [str(one) for one in translations.due()]
    assert due == [], "translate them, then run devtools/refresh.py texts"


def test_a_changed_english_text_is_due_until_its_translation_changes_too(
    translations: ModuleType, root: Path
) -> None:
    assert translations.due(root) == []
    write(root, "en", title="another title", note="en note")
    translations.record(root)  # a refresh alone does not settle it
    assert [str(one) for one in translations.due(root)] == [
        f"{language}:nodeDefs/Node/title has changed in English: another title"
        for language in translations.LANGUAGES
    ]
    write(root, "ja", title="ja other title", note="ja note")
    translations.record(root)
    assert [one.language for one in translations.due(root)] == ["fr", "zh"]


def test_a_translation_that_still_fits_is_taken_off_the_list_by_name(
    translations: ModuleType, root: Path
) -> None:
    write(root, "en", title="en  title", note="en note")
    still_right = frozenset({"fr:nodeDefs/Node/title"})
    assert translations.unknown(still_right, root) == []
    translations.record(root, still_right)
    assert [one.language for one in translations.due(root)] == ["ja", "zh"]
    assert translations.unknown(frozenset({"fr:nodeDefs/Node/titel"}), root) == [
        "fr:nodeDefs/Node/titel"
    ]


def test_a_missing_translation_comes_first_and_a_text_that_is_gone_is_forgotten(
    translations: ModuleType, root: Path
) -> None:
    write(root, "en", title="new", note="en note", more="en more")
    due = [(one.path[-5:], one.why) for one in translations.due(root) if one.language == "fr"]
    assert due == [("/more", "is missing"), ("title", "has changed in English")]
    write(root, "en", note="en note")
    translations.record(root)
    assert translations.read_record(root, "fr").keys() == {"nodeDefs/Node/note"}

"""Names that were given up do not come back."""

from __future__ import annotations

from pathlib import Path

import pytest
from faithful_instantid.devtools import old_names

ROOT = Path(__file__).resolve().parents[2]


def test_no_file_of_the_pack_has_an_old_name() -> None:
    folders = ("nodes", "instantid_core", "devtools", "tests")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    files = [path.relative_to(ROOT).as_posix() for path in paths]
    assert len(files) > 100
    assert old_names.found_in(ROOT, files) == []


@pytest.mark.parametrize(
    "text",
    [
        "class Place: ...",
        "def Place(): ...",
        "def f(*, Place): ...",
        "Place = 1",
        "Place: int = 1",
        "for Place in (): ...",
        "self.Place = 1",
        "import Place",
        "from a import b as Place",
    ],
)
def test_an_old_name_is_refused_with_what_to_say_instead(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text(f"\n{text}\n", encoding="utf-8")
    lines = old_names.found_in(tmp_path, ["a.py"])
    assert lines == [f"a.py:2: Place: {old_names.NAMES['Place']}"]


def test_other_packages_names_and_words_in_texts_are_free(tmp_path: Path) -> None:
    text = "import ast\nNODE = ast.Place\nTITLE = 'Place Keypoints'  # Place\nPlaces = 1\n"
    (tmp_path / "a.py").write_text(text, encoding="utf-8")
    assert old_names.found_in(tmp_path, ["a.py"]) == []


def test_an_old_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "control.py").write_text("", encoding="utf-8")
    lines = old_names.found_in(tmp_path, ["nodes/control.py"])
    assert lines == ["nodes/control.py: weights by block and step are in weighting.py"]

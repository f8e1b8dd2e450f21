"""Every text of every node is there in every language, and the English one is the node's own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from faithful_instantid.devtools.make_locales import node_texts, paths
from faithful_instantid.nodes import FaithfulInstantID, folders

LOCALES = Path(__file__).resolve().parent.parent.parent / "locales"
TRANSLATED = ("fr", "ja", "zh")
SPECIAL = "{}@|"  # the frontend's translation library reads these as instructions
LONG = 25  # a text of so many characters is a sentence, not a name


def texts_of(language: str) -> dict[str, str]:
    return paths(json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def declared() -> dict[str, str]:
    """The texts that the nodes themselves declare, by path."""
    folders.register()
    nodes: list[Any] = asyncio.run(FaithfulInstantID().get_node_list())
    infos = [node.GET_NODE_INFO_V1() for node in nodes]
    return paths({info["name"]: node_texts(info) for info in infos})


def test_english_is_what_the_nodes_say(declared: dict[str, str]) -> None:
    assert texts_of("en") == declared, "run devtools/refresh.py"


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_of_every_node_is_translated(declared: dict[str, str], language: str) -> None:
    found = texts_of(language)
    assert sorted(declared.keys() - found.keys()) == []
    assert sorted(found.keys() - declared.keys()) == []
    copied = [path for path, text in declared.items() if len(text) > LONG and found[path] == text]
    assert copied == []


@pytest.mark.parametrize("language", ("en", *TRANSLATED))
def test_no_text_holds_a_sign_that_the_frontend_would_read_as_an_instruction(
    language: str,
) -> None:
    wrong = {path: text for path, text in texts_of(language).items() if set(text) & set(SPECIAL)}
    assert wrong == {}

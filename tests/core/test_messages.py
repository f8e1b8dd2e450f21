"""The list of all messages: complete, current, and readable."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import faithful_instantid
import pytest
from faithful_instantid.devtools import list_messages
from faithful_instantid.devtools.list_messages import Sample, Text
from faithful_instantid.tests import message_recorder

HOW = "run devtools/list_messages.py, see its first lines"
# What a user cannot read: Python's own words, and what belongs to one machine.
UNREADABLE = ("<class ", " object at 0x", "NoneType", "torch.", "dtype(", "Size([", "pytest")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list_messages.read_samples(list_messages.SAMPLES)


def test_every_text_in_the_sources_has_a_sample(samples: list[Sample]) -> None:
    _, missing = list_messages.choose(list_messages.texts(), samples)
    assert not missing, HOW


def test_the_list_holds_these_samples_and_no_old_ones(samples: list[Sample]) -> None:
    chosen, _ = list_messages.choose(list_messages.texts(), samples)
    assert chosen == samples, HOW
    assert list_messages.LIST.read_text(encoding="utf-8") == list_messages.page(samples), HOW


def test_no_message_speaks_python_or_of_the_machine_it_was_met_on(samples: list[Sample]) -> None:
    words = (*UNREADABLE, tempfile.gettempdir(), str(list_messages.ROOT), str(Path.home()))
    for sample in samples:
        assert not [word for word in words if word in sample.text], sample


def test_a_sample_of_another_kind_or_file_does_not_count() -> None:
    text = Text("nodes/a.py", 1, "WrongInputError", r"`x`\ is\ .*")
    good = Sample("nodes/a.py", "WrongInputError", "`x` is nothing")
    others = [
        Sample("nodes/b.py", "WrongInputError", "`x` is nothing"),
        Sample("nodes/a.py", "warning", "`x` is nothing"),
        Sample("nodes/a.py", "WrongInputError", "so `x` is nothing"),
    ]
    assert list_messages.choose([text], others) == ([], [text])
    assert list_messages.choose([text], others, [good]) == ([good], [])


def test_a_sample_that_was_met_says_nothing_of_the_machine(tmp_path: Path) -> None:
    text = f"There is no file {tmp_path / 'models' / 'a.bin'}."
    assert message_recorder.tidy(text) == "There is no file /ComfyUI/models/a.bin."


def test_a_pack_that_cannot_be_loaded_says_so_with_the_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ModuleNotFoundError):  # this tier has no ComfyUI
        asyncio.run(faithful_instantid.comfy_entrypoint())
    assert "Faithful InstantID could not be loaded:\nTraceback" in caplog.text
    assert "No module named" in caplog.text

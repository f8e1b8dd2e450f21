"""ComfyUI's way into the pack."""

from __future__ import annotations

import asyncio

import faithful_instantid
import pytest


def test_a_pack_that_cannot_be_loaded_says_so_with_the_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ModuleNotFoundError):  # this tier has no ComfyUI
        asyncio.run(faithful_instantid.comfy_entrypoint())
    assert "Faithful InstantID could not be loaded:\nTraceback" in caplog.text
    assert "No module named" in caplog.text

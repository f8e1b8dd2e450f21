"""Stand-in face models, opened once for all tests of this tier."""

from __future__ import annotations

from pathlib import Path

import pytest
from faithful_instantid.devtools.standins import faces as standins
from faithful_instantid.instantid_core.faces import FaceAnalyzer, find_pack, open_analyzer


@pytest.fixture(scope="session")
def insightface_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An insightface folder with the stand-in antelopev2. Shared: not to be changed."""
    root = tmp_path_factory.mktemp("insightface")
    pack = root / "models" / "antelopev2"
    pack.mkdir(parents=True)
    standins.make_pack(pack)
    return root


@pytest.fixture(scope="session")
def shared_analyzer(insightface_folder: Path) -> FaceAnalyzer:
    """The stand-in pack, opened. Shared: its memory knows what other tests looked at."""
    return open_analyzer(find_pack("antelopev2", [insightface_folder]), "CPU")


@pytest.fixture
def analyzer(shared_analyzer: FaceAnalyzer) -> FaceAnalyzer:
    """An analyzer that remembers nothing yet, on the shared sessions."""
    models = shared_analyzer.models
    return FaceAnalyzer(models["detection"], models["recognition"])

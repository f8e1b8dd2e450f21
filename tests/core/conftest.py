"""Stand-in face models, opened once for all tests of this tier; devtools' scripts as modules."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from faithful_instantid.devtools.standins import faces as standins
from faithful_instantid.instantid_core.faces import FaceAnalyzer, find_pack, open_analyzer

DEVTOOLS = Path(__file__).resolve().parents[2] / "devtools"


@pytest.fixture(scope="module")
def script_module() -> Iterator[Callable[[str], ModuleType]]:
    """Load a script of devtools as a module; what lies beside it is imported as by a script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DEVTOOLS))

        def load(name: str) -> ModuleType:
            path = DEVTOOLS / f"{name}.py"
            spec = importlib.util.spec_from_file_location(f"script_{name}", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, f"script_{name}", module)
            spec.loader.exec_module(module)
            return module

        yield load


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

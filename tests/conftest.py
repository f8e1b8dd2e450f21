"""Load the checkout as the package `faithful_instantid`, as ComfyUI loads a folder of nodes.

The checkout itself is never on sys.path: beside ComfyUI, `nodes` would mean two things. Helpers of
the tests and devtools are reached through the package too: `faithful_instantid.devtools.tiny_sdxl`.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
DEVTOOLS = ROOT / "devtools"


def load_pack() -> None:
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    spec = importlib.util.spec_from_file_location(
        "faithful_instantid", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["faithful_instantid"] = module
    spec.loader.exec_module(module)


load_pack()


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

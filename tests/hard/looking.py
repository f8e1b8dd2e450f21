"""Open face packs in a process of its own, so that one that ends the process is seen as such.

    python tests/hard/looking.py FOLDER ...

Prints one line of JSON for each folder: what became of it, in words, and the most memory so far.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


def look(folder: Path) -> list[str]:
    """Open the pack in a folder and find and embed the faces of one picture.

    Returns the words of what happened: "answered" or the kind of the error, then its text.
    """
    import numpy as np
    from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
    from faithful_instantid.instantid_core.errors import InstantIDError
    from faithful_instantid.instantid_core.faces import find_pack, open_analyzer

    picture = np.ascontiguousarray(draw_faces([DrawnFace(60, 60, 90)], 120, 120)[..., ::-1])
    try:
        analyzer = open_analyzer(find_pack("antelopev2", [folder]), "CPU")
        faces = analyzer.find(picture).faces
        numbers: list[Any] = [face.points.kps for face in faces]
        numbers += [analyzer.embed(picture, face) for face in faces[:3]]
    except InstantIDError as error:
        return ["refused", str(error)]
    except Exception as error:
        return [type(error).__name__, str(error)[:200]]
    if all(bool(np.isfinite(part).all()) for part in numbers):
        return ["answered", f"{len(faces)} faces"]
    return ["nonsense", "numbers that are not finite came out"]


def peak() -> int:
    """Return the most memory this process has held so far, in MiB; 0 where nothing tells it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def load_conftest() -> None:
    """Make the pack importable, as the tests do."""
    conftest = Path(__file__).resolve().parent.parent / "conftest.py"
    spec = importlib.util.spec_from_file_location("conftest", conftest)
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "__main__":
    load_conftest()
    for name in sys.argv[1:]:
        sys.stdout.write(json.dumps([*look(Path(name)), peak()]) + "\n")
        sys.stdout.flush()

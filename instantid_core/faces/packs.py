"""Find antelopev2 and its like in the insightface folders, whatever way it was unzipped."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..checks import readable, said
from ..errors import MissingFileError
from .onnx_signature import read_signature

DEFAULT_PACK = "antelopev2"
ANTELOPEV2_URL = "https://huggingface.co/DIAMONIK7777/antelopev2/resolve/main"
CONTAINERS = ("models", "insightface")  # folders that hold packs and give them no name
DEEPEST = 4  # of insightface/models/antelopev2/antelopev2, with one to spare


@dataclass(frozen=True)
class FacePack:
    """The two files of a pack that InstantID needs."""

    name: str
    detector: Path
    recogniser: Path


def pack_names(roots: Sequence[Path]) -> list[str]:
    """Return the names of the packs found, antelopev2 first, whether it is there or not.

    roots: the insightface folders. Only folders are listed, no file is opened.
    """
    found = {_pack_name(folder, roots) for folder in _folders_with_onnx(roots)}
    return [DEFAULT_PACK, *sorted(found - {DEFAULT_PACK})]


def find_pack(name: str, roots: Sequence[Path]) -> FacePack:
    """Return the detector and the recogniser of a pack, recognised by what the files contain.

    Nested (insightface/models/NAME), doubled (NAME/NAME) and flat layouts are all taken; where
    several folders have the name, the first that is complete.

    Raises MissingFileError that lists where it looked, what was there, and what to put where.
    """
    folders = [f for f in _folders_with_onnx(roots) if _pack_name(f, roots) == name]
    for folder in folders:
        detector = _first(folder, "is_detector")
        recogniser = _first(folder, "is_recogniser")
        if detector and recogniser:
            return FacePack(name, detector, recogniser)
    raise MissingFileError(_missing_text(name, roots, folders))


def find_recogniser(name: str, roots: Sequence[Path]) -> Path:
    """Return the recogniser of a pack, which needs no detector. Raises MissingFileError."""
    folders = [f for f in _folders_with_onnx(roots) if _pack_name(f, roots) == name]
    found = next(filter(None, (_first(folder, "is_recogniser") for folder in folders)), None)
    if found is None:
        places = ", ".join(map(str, folders)) or ", ".join(map(str, roots))
        raise MissingFileError(
            f"The face pack {readable(name)} has no recogniser of 112 x 112 to 512 numbers. Looked "
            f"in {places}. Choose another one, or put its .onnx file there."
        )
    return found


def find_landmark_model(folder: Path) -> Path:
    """Return the file of a pack's folder that finds 106 landmarks. Raises MissingFileError."""
    found = _first(folder, "finds_landmarks") if folder.is_dir() else None
    if found is None:
        raise MissingFileError(
            f"The face pack in {folder} has no model for 106 landmarks, which IdentityNet for "
            "SD1.5 is shown. Put 2d106det.onnx (5 MB) of antelopev2 into that folder, beside the "
            "other files of the pack, or switch `landmarks` off."
        )
    return found


def _folders_with_onnx(roots: Sequence[Path]) -> Iterator[Path]:
    for root in dict.fromkeys(roots):
        for folder, inner, files in os.walk(root, followlinks=True):
            inner.sort()
            if len(Path(folder).relative_to(root).parts) >= DEEPEST:
                inner.clear()
            if any(_is_onnx(file) for file in files):
                yield Path(folder)


def _is_onnx(file: str) -> bool:
    return file.lower().endswith(".onnx")


def _pack_name(folder: Path, roots: Sequence[Path]) -> str:
    """A folder's own name; files that lie flat in a container count as antelopev2."""
    flat = folder in roots or folder.name in CONTAINERS
    return DEFAULT_PACK if flat else folder.name


def _onnx_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_onnx(path.name))


def _first(folder: Path, kind: str) -> Path | None:
    for path in _onnx_files(folder):
        signature = read_signature(path)
        if signature is not None and getattr(signature, kind):
            return path
    return None


def _missing_text(name: str, roots: Sequence[Path], folders: Sequence[Path]) -> str:
    place = (roots[0] if roots else Path("models") / "insightface") / "models" / DEFAULT_PACK
    looked = "\n".join(f"  {root}: {_contents(root)}" for root in dict.fromkeys(roots))
    seen = "".join(f"\n  {folder} lacks {_lacks(folder)}" for folder in folders)
    return (
        f"The face pack {readable(name)} was not found. Looked in these folders and "
        f"everything below:\n"
        f"{looked}{seen}\n"
        f"Put scrfd_10g_bnkps.onnx (17 MB) and glintr100.onnx (261 MB) of antelopev2 in {place} "
        f"and choose antelopev2. Download them from {ANTELOPEV2_URL}/scrfd_10g_bnkps.onnx and "
        f"{ANTELOPEV2_URL}/glintr100.onnx, or run devtools/download_models.py of this pack's "
        "repository."
    )


def _contents(root: Path) -> str:
    if not os.path.isdir(root):  # never raises, whatever may be looked into
        return "no such folder"
    found = sorted(
        f"{path.relative_to(root)}{_trouble(path)}"
        for folder in _folders_with_onnx([root])
        for path in _onnx_files(folder)
    )
    zips = sorted(str(path.relative_to(root)) for path in root.rglob("*.zip"))
    parts = [", ".join(found)] if found else ["no .onnx file"]
    if zips:
        parts.append(f"{', '.join(zips)} is not unzipped")
    return "; ".join(parts)


def _trouble(path: Path) -> str:
    """Return what keeps a file from being looked into, for behind its name; else nothing."""
    try:
        if not path.is_file():  # a pipe or a device would be waited for
            return " (no ordinary file)"
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return f" (cannot be read: {said(error)})"
    return ""


def _lacks(folder: Path) -> str:
    lacks = [
        words
        for kind, words in (
            ("is_detector", "a detector with five points (scrfd_10g_bnkps.onnx)"),
            ("is_recogniser", "a recogniser of 112 x 112 to 512 numbers (glintr100.onnx)"),
        )
        if _first(folder, kind) is None
    ]
    return " and ".join(lacks)

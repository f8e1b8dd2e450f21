"""The rehearsal's figures: gathered, checked against what is promised, and shown as a table."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .limits import GIB
from .measure import Run

MIB = 1 << 20
# What the pack may still hold after /free beside identities: small tables, remembered faces.
LEFT_ALLOWED = MIB

# Words with which ComfyUI's loaders report a key that a file lacks or has too many.
KEY_COMPLAINTS = re.compile(
    r"(clip|unet) (missing|unexpected)|(missing|unexpected) controlnet keys|left over keys"
)
NOT_FINITE = "invalid value encountered"

Survey = Mapping[str, Any]


@dataclass
class Figures:
    """All that one rehearsal measured; bytes and seconds."""

    started: float = 0.0
    first: Run = field(default_factory=Run)
    plain: list[Run] = field(default_factory=list)
    instantid: list[Run] = field(default_factory=list)
    surveys: dict[str, Survey] = field(default_factory=dict)
    resident: dict[str, int] = field(default_factory=dict)
    peak_own: int = 0
    peak_resident: int = 0
    whole: float = 0.0


def key_complaints(log: str) -> list[str]:
    """The lines in which ComfyUI says that keys were missing, unexpected or left over."""
    return [line for line in log.splitlines() if KEY_COMPLAINTS.search(line)]


def failures(figures: Figures, log: str, spread: float, difference: float) -> list[str]:
    """Return a sentence for every promise that was not kept.

    spread: the standard deviation of the picture's 8-bit values; difference: the mean distance
    between the pictures with and without InstantID from the same seed.
    """
    found = [f"ComfyUI's loader complained: {line}" for line in key_complaints(log)]
    if NOT_FINITE in log or spread < 1:
        found.append(
            f"The picture is not finite or flat: its values spread by {spread:.2f}, and at least "
            "1 was wanted."
        )
    if difference < 0.5:
        found.append(
            f"With and without InstantID the pictures differ by {difference:.2f} of 255; at least "
            "0.5 was wanted. It cannot have been applied."
        )
    return found + held_after(figures.surveys["after /free"])


def held_after(survey: Survey) -> list[str]:
    """Return what the pack wrongly holds after ComfyUI's own unload, as sentences."""
    held, found = survey["pack"], []
    if held["weights"] > 0:
        found.append(f"After /free the pack holds {held['weights']:,} bytes of adapter weights.")
    if held["other"] > LEFT_ALLOWED:
        found.append(
            f"After /free the pack holds {held['other']:,} bytes beside identities; at most "
            f"{LEFT_ALLOWED:,} were wanted."
        )
    if survey["sessions"]:
        found.append(f"After /free {len(survey['sessions'])} ONNX sessions are open.")
    return found


def is_settled(survey: Survey) -> bool:
    """Whether nothing of a model is left in the server: ComfyUI's unload has been carried out."""
    return not held_after(survey) and survey["tensors"] < 64 * MIB


# --- the table ---------------------------------------------------------------------------------

LOADERS = (
    ("CheckpointLoaderSimple", "Load the SDXL checkpoint (6.94 GB)"),
    ("ControlNetLoader", "Load IdentityNet (2.50 GB)"),
    ("IID_LoadAdapter", "Load the adapter (1.69 GB)"),
    ("IID_LoadFaceAnalyzer", "Load the face analyzer (0.28 GB)"),
    ("IID_EncodeFace", "Encode a face (opens the ONNX files, projects K and V)"),
    ("IID_FaceKeypoints", "Find the keypoints"),
    ("IID_ApplyAdapter", "Apply the adapter"),
    ("IID_ApplyIdentityNet", "Apply IdentityNet"),
    ("IID_Apply", "Apply InstantID"),
)


def table(figures: Figures) -> str:
    """Return the figures as three Markdown tables."""
    return "\n\n".join([_times(figures), _speed(figures), _memory(figures)])


def _times(figures: Figures) -> str:
    rows = [("Start the server", f"{figures.started:.1f} s")]
    for kind, text in LOADERS:
        if kind in figures.first.nodes:
            rows.append((text, f"{figures.first.nodes[kind]:.2f} s"))
    rows.append(("First picture, with all of the above", f"{figures.first.whole:.0f} s"))
    return _markdown(("What", "Time"), rows)


def _speed(figures: Figures) -> str:
    plain = [step for run in figures.plain for step in run.steps]
    patched = [step for run in figures.instantid for step in run.steps]
    ratios = [b / a for a, b in zip(plain, patched, strict=True)]
    rows = [
        ("without InstantID", *_median(plain, "s")),
        ("with InstantID", *_median(patched, "s")),
        ("ratio of neighbours", *_median(ratios, "")),
    ]
    return _markdown(("Seconds per step", "median", "lowest to highest", "steps"), rows)


def _median(values: Sequence[float], unit: str) -> tuple[str, str, str]:
    unit = f" {unit}" if unit else ""
    middle = f"{statistics.median(values):.2f}{unit}"
    return middle, f"{min(values):.2f} to {max(values):.2f}{unit}", str(len(values))


def _memory(figures: Figures) -> str:
    rows = [("Peak of the server, mapped files included", _size(figures.peak_resident))]
    rows.append(("Peak of the server's own memory", _size(figures.peak_own)))
    for moment, survey in figures.surveys.items():
        held = survey["pack"]
        rows += [
            (f"The server's own memory {moment}", _size(figures.resident[moment])),
            (f"Identities {moment}", _size(held["identities"])),
            (f"Adapter weights {moment}", _size(held["weights"])),
            (f"Anything else of the pack {moment}", _size(held["other"])),
            (f"Open ONNX sessions {moment}, by file size", _size(sum(survey["sessions"]))),
            (f"All tensors of the server {moment}", _size(survey["tensors"])),
        ]
    return _markdown(("Memory", "Size"), rows)


def _size(count: int) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

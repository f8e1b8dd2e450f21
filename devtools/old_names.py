"""Names that said nothing or meant two things, and what is said instead; lint refuses them.

To retire one more, add a line: an identifier to NAMES, a file to FILES.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

# Refused as the name of a class, function, argument, variable or import.
NAMES: dict[str, str] = {
    "Place": "which face is a person's, and how much they count, is PersonSettings",
    "FAMILY_OF_WIDTH": "families.family_of is the one table of families",
    "Share": "say what is measured (Overhead), or how far the sampling is (percent)",
    "Shares": "how much of each cell is a person's is people_attention.PeopleCells",
    "Together": "where several people may work is people.PeopleMasks",
    "Part": "what a term adds to a call is adapter_call.OpenTerm, to a slot SlotTerm",
    "Call": "what the rows of a call show is rows.Rows, one evaluation of a net Evaluation",
    "RunMask": "a mask over any grid is mask_layout.MaskLayout",
    "GridMask": "a mask over any grid is mask_layout.MaskLayout",
    "SamplingRun": "what a sampling keeps for the adapter is adapter_run.AdapterRun",
}
# Refused as the path of a file, from the root of the checkout.
FILES: dict[str, str] = {
    "instantid_core/control.py": "weights by block and step are in weighting.py",
    "nodes/control.py": "weights by block and step are in weighting.py",
    "instantid_core/host/model_patch.py": "the adapter is in host/adapter_terms.py and _call.py",
    "instantid_core/host/sampling_run.py": "what a sampling keeps is in host/adapter_run.py",
    "instantid_core/host/roles.py": "which row shows what is read in host/rows.py",
    "instantid_core/host/shared_attention.py": "people in IdentityNet: host/people_attention.py",
    "instantid_core/previews.py": "what shows faces is in faces/",
    "instantid_core/host/old_pack.py": "the old pack's ways are in host/legacy/",
    "instantid_core/host/shared_context.py": "the old pack's ways are in host/legacy/",
}


def found_in(root: Path, files: Iterable[str]) -> list[str]:
    """Return a line for every old name in the files of a checkout, by path from its root."""
    lines: list[str] = []
    for file in files:
        if file in FILES:
            lines.append(f"{file}: {FILES[file]}")
        if file.endswith(".py"):
            tree = ast.parse((root / file).read_text(encoding="utf-8"))
            lines += [
                f"{file}:{line}: {name}: {NAMES[name]}"
                for name, line in sorted(_named(tree), key=lambda found: found[1])
                if name in NAMES
            ]
    return lines


def _named(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every name that a module gives to something, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[-1], node.lineno

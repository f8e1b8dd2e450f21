"""For every kind of input: values that somebody may bring, and one that is right."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from faithful_instantid.instantid_core.identity import NoIdentity

NAN, INF = math.nan, math.inf


def image(*shape: int, value: float = 0.5) -> torch.Tensor:
    return torch.full(shape, value)


def with_one(tensor: torch.Tensor, value: float) -> torch.Tensor:
    """Return a copy in which one number is another."""
    changed = tensor.clone()
    changed.view(-1)[changed.numel() // 2] = value
    return changed


IMAGES: dict[str, Any] = {
    "NaN": with_one(image(1, 48, 64, 3), NAN),
    "infinite": with_one(image(1, 48, 64, 3), INF),
    "negative infinite": image(1, 48, 64, 3, value=-INF),
    "empty batch": image(0, 48, 64, 3),
    "huge batch": image(1, 8, 8, 3).expand(600, 8, 8, 3),
    "no height": image(1, 0, 64, 3),
    "one pixel": image(1, 1, 1, 3),
    "one line": image(1, 1, 3000, 3),
    "one column": image(1, 3000, 1, 3),
    "grey": image(1, 48, 64, 1),
    "two channels": image(1, 48, 64, 2),
    "four channels": image(1, 48, 64, 4),
    "five channels": image(1, 48, 64, 5),
    "no batch": image(48, 64, 3),
    "five dimensions": image(1, 1, 48, 64, 3),
    "no dimension": torch.tensor(0.5),
    "bytes": image(1, 48, 64, 3).mul(255).to(torch.uint8),
    "whole numbers": torch.full((1, 48, 64, 3), 200),
    "0 to 255": image(1, 48, 64, 3, value=200.0),
    "truth values": image(1, 48, 64, 3) > 0,
    "half": image(1, 48, 64, 3).half(),
    "double": image(1, 48, 64, 3).double(),
    "complex": image(1, 48, 64, 3).to(torch.complex64),
    "channels first": image(1, 3, 48, 64).movedim(1, -1),
    "with a gradient": image(1, 48, 64, 3).requires_grad_(),
    "sparse": image(1, 48, 64, 3).to_sparse(),
    "on no device": torch.empty(1, 48, 64, 3, device="meta"),
    "array": np.full((1, 48, 64, 3), 0.5, np.float32),
    "list of pictures": [image(48, 64, 3)],
    "latent": {"samples": image(1, 4, 8, 8)},
    "nothing": None,
    "text": "example.png",
}
MASKS: dict[str, Any] = {
    "NaN": with_one(image(1, 48, 64), NAN),
    "infinite": with_one(image(1, 48, 64), INF),
    "empty batch": image(0, 48, 64),
    "one pixel": image(1, 1, 1),
    "huge batch": image(1, 8, 8).expand(600, 8, 8),
    "another size": image(1, 17, 5),
    "no batch": image(48, 64),
    "three frames": image(3, 48, 64),
    "one dimension": image(64),
    "four dimensions": image(1, 1, 48, 64),
    "beyond 1": image(1, 48, 64, value=7.0),
    "below 0": image(1, 48, 64, value=-7.0),
    "truth values": image(1, 48, 64) > 0,
    "bytes": torch.full((1, 48, 64), 255, dtype=torch.uint8),
    "double": image(1, 48, 64).double(),
    "complex": image(1, 48, 64).to(torch.complex64),
    "with a gradient": image(1, 48, 64).requires_grad_(),
    "sparse": image(1, 48, 64).to_sparse(),
    "on no device": torch.empty(1, 48, 64, device="meta"),
    "array": np.full((1, 48, 64), 0.5, np.float32),
    "text": "mask.png",
    "number": 1,
}
FOREIGN: dict[str, Any] = {
    "nothing": None,
    "number": 7,
    "text": "text",
    "bytes": b"\0",
    "empty dict": {},
    "face dict of another pack": {"cond": image(1, 16, 64), "uncond": None},
    "empty list": [],
    "list of nothing": [None],
    "list of lists": [[1]],
    "pair": (image(1, 4), {}),
    "object": object(),
    "class": dict,
    "function": len,
    "tensor": image(3),
    "picture": image(1, 48, 64, 3),
    "module": torch.nn.Identity(),
    "namespace": SimpleNamespace(),
    "analysis without models": SimpleNamespace(models={}),
    "analysis with other models": SimpleNamespace(models={"detection": 1, "recognition": len}),
    "wrapped model": SimpleNamespace(model=SimpleNamespace(diffusion_model=torch.nn.Identity())),
    "bypassed identity": NoIdentity("Nobody was found."),
}
FLOATS: dict[str, Any] = {
    "NaN": NAN,
    "infinite": INF,
    "negative infinite": -INF,
    "huge": 1e308,
    "negative huge": -1e308,
    "tiny": 5e-324,
    "negative zero": -0.0,
    "minus one": -1.0,
    "two": 2.0,
    "thousand": 1000.0,
}
INTS: dict[str, Any] = {
    "minus one": -1,
    "minus two": -2,
    "zero": 0,
    "one": 1,
    "seven": 7,
    "two to 31": 1 << 31,
    "minus two to 63": -(1 << 63),
    "two to 64": 1 << 64,
    "ten to 20": 10**20,
}
TEXTS: dict[str, Any] = {
    "empty": "",
    "blank": " \t\n",
    "control characters": "".join(map(chr, range(32))),
    "zero byte": "a\0b",
    "lone surrogate": "\ud800",
    "right to left": "\u202egnp.x\u2066",
    "astral": "\U0001f600" * 40,
    "parent": "../../../../tmp/x",
    "windows parent": "..\\..\\x",
    "absolute": "/etc/passwd",
    "drive": "C:\\x",
    "dots": "..",
    "percent": "%date:yyyy%/%width%%s%n",
    "long": "x" * 100_000,
    "numbers": "1," * 5000,
    "not a number": "nan",
    "infinite": "inf, -inf, 1e999",
    "colons": "0:1:2, ::, 1e999:nan",
    "markup": "<script>alert(1)</script>",
}
CHOICES: dict[str, Any] = {
    "empty": "",
    "unknown": "nonsense",
    "nothing": None,
    "number": 3,
    "zero byte": "\0",
    "parent": "../../../../etc/passwd",
    "list": ["crop"],
}
TRUTHS: dict[str, Any] = {"nothing": None, "text": "no", "two": 2, "NaN": NAN}
BAD: dict[str, dict[str, Any]] = {
    "IMAGE": IMAGES,
    "MASK": MASKS,
    "FLOAT": FLOATS,
    "INT": INTS,
    "STRING": TEXTS,
    "COMBO": CHOICES,
    "BOOLEAN": TRUTHS,
}


def bad_values(kind: str) -> dict[str, Any]:
    """Return what to try on an input of a socket type; several types stand with commas between."""
    found: dict[str, Any] = {}
    for one in kind.split(","):
        found.update(BAD.get(one, FOREIGN))
    return found

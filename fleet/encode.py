"""Photos to identity files, once per photo: the only step that needs antelopev2 on a server."""

from __future__ import annotations

import copy
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .comfy import Comfy, State
from .errors import FailedError, FleetError
from .folder import Plan, read_json
from .graph import Graph
from .plan import IDENTITY_FOLDER, UPLOADS, check_identity, digest
from .work import Driver, Patience

log = logging.getLogger("fleet")


@dataclass(frozen=True)
class Encoded:
    """How many photos have an identity now, and why others have none: photo to reason."""

    made: int
    refused: dict[str, str]


def open_photos(plan: Plan, *, again: bool) -> list[str]:
    """Return the keys of the photos to encode. again: also those that were refused before."""
    return [
        key
        for key in plan.photos
        if not plan.identity_path(key).exists() and (again or not plan.refusal_path(key).exists())
    ]


def encode(
    plan: Plan,
    comfy: Comfy,
    keys: list[str],
    stop: threading.Event,
    patience: Patience,
    done: Callable[[], None] = lambda: None,
) -> Encoded:
    """Make the identity files of these photos; a photo without a face is written down as refused.

    GiveBackError when the server stays away or `stop` is set: what is made is kept.
    """
    plan.outputs.prepare()
    driver = Driver(comfy, stop, patience)
    made, refused = 0, {}
    for key in keys:
        try:
            content, _, _ = _encode(plan, driver, key)
            plan.outputs.write(plan.identity_path(key), content)
            plan.refusal_path(key).unlink(missing_ok=True)
            made += 1
        except FailedError as error:
            log.warning("%s: %s", plan.photos[key], error.message)
            refused[plan.photos[key]] = error.message
            refusal: dict[str, Any] = {
                "photo": plan.photos[key],
                "kind": error.kind,
                "reason": error.message,
            }
            refusal["attempt"] = error.attempt
            plan.outputs.write_json(plan.refusal_path(key), refusal)
        done()
    return Encoded(made, refused)


def _encode(plan: Plan, driver: Driver, key: str) -> tuple[bytes, int, State]:
    photo = Path(plan.photos[key])
    try:
        content = photo.read_bytes()
    except OSError as error:
        raise FleetError(f"{photo} cannot be read any more: {error.strerror}") from error
    if digest(content) != key:
        raise FleetError(f"{photo} is not the photo it was when the plan was made. Plan again.")
    name = f"{key}{photo.suffix.lower()}"

    def prepare() -> Graph:
        driver.comfy.upload(UPLOADS, name, content)
        graph = copy.deepcopy(plan.encode or {})
        graph["fleet_photo"]["inputs"]["image"] = f"{UPLOADS}/{name}"
        save = graph["fleet_save"]["inputs"]
        save["filename_prefix"] = f"{IDENTITY_FOLDER}/{UPLOADS}/{key}"
        return graph

    def collect(state: State) -> bytes:
        text = " ".join(map(str, state.outputs.get("fleet_save", {}).get("text", [])))
        saved = re.search(rf"{key}_\d+_\.safetensors", text)
        if saved is None:
            raise FailedError("empty", "Save Identity did not say where it saved")
        folder = f"{IDENTITY_FOLDER}/{UPLOADS}"
        file = {"filename": saved.group(), "subfolder": folder, "type": "output"}
        identity = driver.comfy.fetch(file)
        check_identity(saved.group(), identity)
        return identity

    refusal = plan.refusal_path(key)
    attempt = read_json(refusal)["attempt"] + 1 if refusal.exists() else 0
    return driver.run(f"encode {plan.run} {key}", attempt, prepare, collect)

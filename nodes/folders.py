"""Folder names; file name to path; the face packs found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import folder_paths

from ..instantid_core.checks import said, shown
from ..instantid_core.errors import MissingFileError, WrongInputError
from ..instantid_core.faces import (
    DEFAULT_PACK,
    FacePack,
    find_pack,
    find_recogniser,
    pack_names,
)
from ..instantid_core.halves import SUFFIXES as ADAPTER_SUFFIXES
from ..instantid_core.log import warn

ADAPTERS = "instantid"
FACE_PACKS = "insightface"
IDENTITIES = "instantid_identities"
OWN_RECOGNISER = "face_analyzer"
ADAPTER_NAMES = ("ip-adapter", "ip_adapter", "instantid")
IDENTITYNET_NAMES = ("identitynet", "instantid", "instant_id", "instant-id", "controlnetmodel")
OTHER_CONTROLNETS = ("depth", "canny", "openpose", "tile", "union")
INSTANTID_URL = "https://huggingface.co/InstantX/InstantID/resolve/main"


def register() -> None:
    """Tell ComfyUI where this pack's model files live."""
    add_folder(ADAPTERS, set(ADAPTER_SUFFIXES))
    add_folder(FACE_PACKS, {".onnx"})
    add_folder(IDENTITIES, {".safetensors"})
    for place in (folder_paths.get_output_directory(), folder_paths.get_input_directory()):
        folder_paths.add_model_folder_path(IDENTITIES, os.path.join(place, IDENTITIES))


def make_adapter_folder() -> None:
    """Make models/instantid, so that a person finds where the adapter goes.

    A place that may not be written to is no error. The folder of the face pack is not made: to
    insightface a folder that is there is a finished download.
    """
    with contextlib.suppress(OSError):
        os.makedirs(os.path.join(folder_paths.models_dir, ADAPTERS), exist_ok=True)


def add_folder(name: str, extensions: set[str]) -> None:
    """Add models/<name>, and `extensions` to those it lists; what others registered stays.

    A name known only from extra_model_paths.yaml arrives with no extensions at all. Other packs
    register lists where ComfyUI has a tuple of a list and a set, or leave the extensions out.
    """
    known = folder_paths.folder_names_and_paths
    if name in known:
        paths, *rest = known[name]
        listed = [paths] if isinstance(paths, str) else list(paths)
        known[name] = (paths if isinstance(paths, list) else listed, {*(rest[0] if rest else ())})
    folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
    paths, found = known[name]
    known[name] = (paths, {*found, *extensions})


def adapter_files() -> list[str]:
    """Return the names of the adapter files found, for a list to choose from.

    Those of the adapter in two files come last: the first one is chosen where no name tells more.
    """
    return sorted(folder_paths.get_filename_list(ADAPTERS), key=_is_of_two)


def _is_of_two(name: str) -> bool:
    return name.lower().endswith(".ckpt")


def adapter_path(name: str) -> str:
    """Return the path of an adapter file; MissingFileError if it is gone."""
    return _found(ADAPTERS, name)


def adapter_problem(name: str | None) -> bool | str:
    """Return True if there is an adapter file of that name, else what is wrong, in a sentence."""
    if name is None or folder_paths.get_full_path(ADAPTERS, _native(name)) is not None:
        return True
    places = ", ".join(folder_paths.get_folder_paths(ADAPTERS))
    there = ", ".join(adapter_files()) or "no adapter file at all"
    return (
        f"There is no adapter file {shown(name)}. Looked in {places}; found {there}. "
        "Choose one that is "
        f"there, or put ip-adapter.bin there: {INSTANTID_URL}/ip-adapter.bin (1.7 GB); for SD1.5 "
        "image_proj.ckpt and ip-state.ckpt."
    )


def likely_adapter() -> str | None:
    """Return the first adapter file whose name tells that it is one, for a default."""
    return _first_told(adapter_files(), ADAPTER_NAMES)


def likely_identitynet() -> str | None:
    """Return the first ControlNet file whose name tells that it is IdentityNet, for a default."""
    return _first_told(controlnet_files(), IDENTITYNET_NAMES)


def _first_told(names: Iterable[str], told_by: Iterable[str]) -> str | None:
    """Return the first name in which one of some words stands; None if none has any."""
    words = tuple(told_by)
    return next((name for name in names if any(word in name.lower() for word in words)), None)


def warn_of_another_controlnet(name: object) -> None:
    """Warn of a ControlNet that is something else by its name."""
    if not isinstance(name, str):
        return  # what is no name is told where the file is looked for
    other = next((kind for kind in OTHER_CONTROLNETS if kind in name.lower()), None)
    if other is not None and _first_told([name], IDENTITYNET_NAMES) is None:
        warn(
            f"{shown(name)} is, by its name, a ControlNet for {other} and not IdentityNet; faces "
            "would come out as noise. Choose InstantID's own: instantid-identitynet.safetensors, "
            f"or whatever name you gave {INSTANTID_URL}/ControlNetModel/"
            "diffusion_pytorch_model.safetensors."
        )


def controlnet_files() -> list[str]:
    """Return the names of the ControlNet files found, for a list to choose from."""
    return folder_paths.get_filename_list("controlnet")


def controlnet_problem(name: str | None) -> bool | str:
    """Return True if there is a ControlNet file of that name, else what is wrong, in a sentence."""
    if name is None or folder_paths.get_full_path("controlnet", _native(name)) is not None:
        return True
    places = ", ".join(folder_paths.get_folder_paths("controlnet"))
    return (
        f"There is no ControlNet file {shown(name)}. Looked in {places}. Choose one that is "
        f"there, or put IdentityNet there: {INSTANTID_URL}/ControlNetModel/"
        "diffusion_pytorch_model.safetensors (2.5 GB)."
    )


def controlnet_path(name: str) -> str:
    """Return the path of a ControlNet file; MissingFileError if it is gone."""
    return _found("controlnet", name)


def _native(name: object) -> str:
    """Return a file name with this system's separators: workflows travel between systems."""
    return str(name).replace("\\", "/").replace("/", os.sep)


def _found(folder: str, name: object) -> str:
    """Return the path of a model file; MissingFileError if it is gone."""
    path = folder_paths.get_full_path(folder, _native(name))
    if path is None:
        raise MissingFileError(
            f"There is no file {shown(name)} in the model folders {folder} any more. Press R to "
            "refresh the lists, and choose one that is there."
        )
    return path


def face_pack_folders() -> list[Path]:
    """Return every insightface folder, those of extra_model_paths.yaml included."""
    return [Path(folder) for folder in folder_paths.get_folder_paths(FACE_PACKS)]


def face_packs() -> list[str]:
    """Return the names of the face packs found, for a list to choose from; antelopev2 is first."""
    return pack_names(face_pack_folders())


def face_pack(name: str) -> FacePack:
    """Return the files of a face pack; MissingFileError says where it was looked for."""
    return find_pack(name, face_pack_folders())


def recognisers() -> list[str]:
    """Return who may score likeness: the face analyzer's own, or that of another face pack."""
    return [OWN_RECOGNISER, *(name for name in face_packs() if name != DEFAULT_PACK)]


def recogniser_path(choice: str) -> Path | None:
    """Return the file of another pack's recogniser, None for the analyzer's own.

    Raises MissingFileError for a pack without one.
    """
    return None if choice == OWN_RECOGNISER else find_recogniser(choice, face_pack_folders())


def face_pack_problem(name: str | None) -> bool | str:
    """Return True if there is a complete face pack of that name, else what is wrong."""
    try:
        return name is None or bool(face_pack(name))
    except MissingFileError as error:
        return str(error)


def warn_if_not_listed(path: Path) -> None:
    """Warn of a saved identity that lies where Load Identity does not look."""
    places = [Path(place).resolve() for place in folder_paths.get_folder_paths(IDENTITIES)]
    if not any(path.resolve().is_relative_to(place) for place in places):
        warn(
            f"{path} lies where Load Identity does not look. Write a plain name, such as anna, or "
            f"{IDENTITIES}/ before it."
        )


def identity_files() -> list[str]:
    """Return the names of the saved identities, for a list to choose from."""
    return folder_paths.get_filename_list(IDENTITIES)


def identity_path(name: str) -> Path:
    """Return the path of a saved identity; MissingFileError if it is gone."""
    return Path(_found(IDENTITIES, name))


def identity_stamp(name: str) -> str:
    """Return what differs when a saved identity was replaced by another one of its name."""
    path = folder_paths.get_full_path(IDENTITIES, _native(name))
    if path is None:
        return "none"
    status = os.stat(path)
    return f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"


def identity_problem(name: str | None) -> bool | str:
    """Return True if there is a saved identity of that name, else what is wrong."""
    if name is None or folder_paths.get_full_path(IDENTITIES, _native(name)) is not None:
        return True
    places = ", ".join(folder_paths.get_folder_paths(IDENTITIES))
    there = ", ".join(identity_files()) or "no saved identity at all"
    return (
        f"There is no saved identity {shown(name)}. Looked in {places}; found {there}. "
        "Save one with "
        "Save Identity, or choose one that is there."
    )


def new_identity_path(prefix: str) -> Path:
    """Return an unused path in the output folder; WrongInputError for a prefix that leaves it.

    A plain name without a folder goes where Load Identity looks.
    """
    output = folder_paths.get_output_directory()
    is_plain = os.path.basename(_native(prefix)) == _native(prefix)
    wanted = os.path.join(IDENTITIES, prefix) if is_plain and prefix.strip(". ") else prefix
    try:
        folder, name, counter, _, _ = folder_paths.get_save_image_path(wanted, output)
    except Exception as error:  # ComfyUI's refusal, or the file system's
        raise WrongInputError(
            f"Nothing can be saved under filename_prefix {shown(prefix)} ({said(error)}). Write a "
            "folder within ComfyUI's output folder and the beginning of a file name."
        ) from error
    if not Path(folder).resolve().is_relative_to(Path(output).resolve()):
        raise WrongInputError(
            f"filename_prefix {shown(prefix)} leads through a link out of ComfyUI's output folder, "
            f"to {Path(folder).resolve()}. Write a folder that lies within it."
        )
    return Path(folder) / f"{name}_{counter:05}_.safetensors"

"""Folder names; file name to path; the face packs found."""

from __future__ import annotations

import os

import folder_paths

ADAPTERS = "instantid"
ADAPTER_EXTENSIONS = {".bin", ".safetensors", ".pt", ".pth"}


def register() -> None:
    """Tell ComfyUI where this pack's model files live."""
    add_folder(ADAPTERS, ADAPTER_EXTENSIONS)


def add_folder(name: str, extensions: set[str]) -> None:
    """Add models/<name>, and `extensions` to those it lists; what others registered stays.

    A name known only from extra_model_paths.yaml arrives with no extensions at all.
    """
    folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
    paths, known = folder_paths.folder_names_and_paths[name]
    folder_paths.folder_names_and_paths[name] = (paths, known | extensions)


def adapter_files() -> list[str]:
    """Return the names of the adapter files found, for a list to choose from."""
    return folder_paths.get_filename_list(ADAPTERS)


def adapter_path(name: str) -> str:
    """Return the path of an adapter file; FileNotFoundError if it is gone."""
    return folder_paths.get_full_path_or_raise(ADAPTERS, _native(name))


def adapter_problem(name: str | None) -> bool | str:
    """Return True if there is an adapter file of that name, else what is wrong, in a sentence."""
    if name is None or folder_paths.get_full_path(ADAPTERS, _native(name)) is not None:
        return True
    places = ", ".join(folder_paths.get_folder_paths(ADAPTERS))
    there = ", ".join(adapter_files()) or "no adapter file at all"
    return (
        f"There is no adapter file {name!r}. Looked in {places}; found {there}. Choose one that is "
        "there, or put ip-adapter.bin of InstantX/InstantID there."
    )


def _native(name: str) -> str:
    """Return a file name with this system's separators: workflows travel between systems."""
    return name.replace("\\", "/").replace("/", os.sep)

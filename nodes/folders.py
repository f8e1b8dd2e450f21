"""Folder names; file name to path; the face packs found."""


def register() -> None:
    """Tell ComfyUI where this pack's model files live."""

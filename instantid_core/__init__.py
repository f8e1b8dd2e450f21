"""The method itself: torch only, no ComfyUI except under `host/`."""

"""Many portraits on many ComfyUI servers: plan, encode, run, and nothing lost or done twice.

    python3 -m fleet plan JOBS --graph PORTRAIT_API.json --out RUN

docs/fleet.md tells the whole. Nothing of the node pack imports this package, and this package
imports nothing of the node pack: it speaks to ComfyUI over HTTP alone.
"""

from __future__ import annotations

FLEET_VERSION = "1"

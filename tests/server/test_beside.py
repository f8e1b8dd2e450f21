"""The script that tries this pack beside others says what is right, wrong and not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from faithful_instantid.devtools.comfy_server import default_comfyui

from .conftest import ROOT

KJ, TILED, PULID = "ComfyUI-KJNodes", "ComfyUI-TiledDiffusion", "PuLID_ComfyUI"
# Three nodes by the names of that pack's; the last one changes the model that it is lent.
NODES = """
class Plain:
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "patch"

    def patch(self, model):
        return (model,)


class Spoils(Plain):
    @classmethod
    def INPUT_TYPES(cls):
        choices = (["disabled", "auto"],)
        return {"required": {"model": ("MODEL",), "sage_attention": choices}}

    def patch(self, model, sage_attention):
        later = model.clone()
        later.model_options["transformer_options"].pop("wrappers", None)
        later.wrappers.clear()
        return (later,)


NODE_CLASS_MAPPINGS = {
    "ModelPatchTorchSettings": Plain,
    "PatchModelPatcherOrder": Plain,
    "PathchSageAttentionKJ": Spoils,
}
"""


def test_a_pack_that_spoils_one_that_does_not_load_and_one_that_is_not_there_are_told_apart(
    tmp_path: Path,
) -> None:
    for name, text in ((KJ, NODES), (f"{TILED}-main", "import nothing_of_that_name\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    command = [sys.executable, str(ROOT / "devtools" / "beside.py"), "--packs", str(tmp_path)]
    table = tmp_path / "table.md"
    table.write_text("| comfyui-prompt-control | 1234567 | one | right: order |\n")
    command += ["--comfyui", str(default_comfyui()), "--table", str(table)]
    for name in (KJ, TILED, PULID):
        command += ["--only", name]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = {
        pack: line
        for line in done.stdout.splitlines()
        for pack in (KJ, TILED, PULID)
        if line.startswith(f"| {pack} ")
    }
    assert "not tried: it is not there" in lines[PULID], done.stderr
    assert "it does not load here (No module named 'nothing_of_that_name')" in lines[TILED]
    assert "WRONG: order (differs by " in lines[KJ]  # what comes after ours takes it away
    assert "right: rerun, absence, our effect" in lines[KJ]
    assert done.returncode == 1
    written = table.read_text()
    assert all(line in written for line in lines.values())
    assert "| comfyui-prompt-control | 1234567 | one | right: order |" in written

"""The packs that are tried, and what the list of combinations shares."""

from __future__ import annotations

from neighbours.combination import ABSENCE, EFFECT, ORDER, OUR_EFFECT, RERUN, SLOTS, Scene, step

CORE = "ComfyUI"  # its own nodes; always there
OLD_PACK = "ComfyUI_InstantID"
IPADAPTER, PULID = "ComfyUI_IPAdapter_plus", "PuLID_ComfyUI"
ACN, ADE = "ComfyUI-Advanced-ControlNet", "ComfyUI-AnimateDiff-Evolved"
IMPACT, INSPIRE = "ComfyUI-Impact-Pack", "ComfyUI-Inspire-Pack"
USDU, TILED = "ComfyUI_UltimateSDUpscale", "ComfyUI-TiledDiffusion"
KJ, CROP = "ComfyUI-KJNodes", "ComfyUI-Inpaint-CropAndStitch"
PAG, PC, EASY = "sd-perturbed-attention", "comfyui-prompt-control", "ComfyUI-Easy-Use"
PACKS = (
    *(CORE, IPADAPTER, PULID, OLD_PACK, ACN, ADE, IMPACT, USDU, TILED),
    *(KJ, INSPIRE, CROP, PAG, PC, EASY),
)

PATCHED = (ORDER, RERUN, ABSENCE, EFFECT, SLOTS)
SAMPLED = (RERUN, ABSENCE, OUR_EFFECT, SLOTS)
SOMEBODY = "somebody_else.png"  # a drawn face, which is found wherever it lies
LARGE = Scene(width=256, height=384, steps=1)
VIDEO = Scene(batch=6)

DEPTH = {"control_net": "@depthnet", "image": "@image", "strength": 0.6}
CORE_DEPTH = (step("ControlNetApplyAdvanced", "positive negative", **DEPTH),)
ACN_DEPTH = (step("ACN_AdvancedControlNetApply_v2", "positive negative", **DEPTH),)
MOVING_MASKS = (step("Beside_FrameMasks", "mask"),)
MOVING_FACE = (
    step("Beside_Frames", "frames", image="@pose"),
    step("IID_FaceKeypoints", "keypoints", image="@frames"),
)
MOVING = Scene(batch=6, pose=SOMEBODY)

"""From steps to a prompt in API form."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from comfy_server import Prompt

from neighbours.combination import Combination, Scene, Step, step

WEIGHT = 0.8
SCENE = (
    step("CheckpointLoaderSimple", "model clip vae", ckpt_name="sd_xl_base_1.0.safetensors"),
    step("Beside_Fresh", "model"),
    step("CLIPTextEncode", "positive", text="a portrait, oil on canvas"),
    step("CLIPTextEncode", "negative", text="bad"),
    step("EmptyLatentImage", "latent", batch_size="@batch"),
    step("LoadImage", "photo", image="@photo_file"),
    step("LoadImage", "pose", image="@pose_file"),
    step("ImageScale", "image", image="@pose", upscale_method="bilinear", crop="center"),
    step("IID_LoadInstantID", "face_analyzer adapter control_net"),
    step("IID_EncodeFace", "face", image="@photo"),
    step("IID_FaceKeypoints", "keypoints", image="@pose"),
    step("IID_FaceRegionMask", "mask"),
    step("ControlNetLoader", "depthnet", control_net_name="diffusers_xl_depth_full.safetensors"),
)


class UnknownNodeError(KeyError):
    """The server has no node of a class that a step names."""


@dataclass(frozen=True)
class Variant:
    """Which of both packs is in the workflow, how, and in what scene.

    ours: on, zero or off. theirs: first, last or off. turn: a new number keeps out of the cache
    what depends on the model.
    """

    ours: str = "on"
    theirs: str = "first"
    scene: Scene = Scene()
    turn: int = 0

    def of(self, **scene: Any) -> Variant:
        """Return it with other values in its scene."""
        return replace(self, scene=replace(self.scene, **scene))


class Workflow:
    """A prompt under construction. nodes: the server's `/object_info`."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        self.prompt: Prompt = {}
        self.given: dict[str, Any] = {}
        self._nodes = nodes

    def add(self, added: Step) -> str:
        """Add a node and return its id; UnknownNodeError if there is none of its class."""
        if added.node not in self._nodes:
            raise UnknownNodeError(f"There is no node {added.node}.")
        wanted = self._nodes[added.node]["input"].get("required", {})
        inputs = {name: self._value(value) for name, value in added.inputs.items()}
        for name, kind in wanted.items():
            if name not in inputs:
                inputs[name] = self._unsaid(added.node, name, kind)
        key = f"{len(self.prompt) + 1}-{added.node}"
        self.prompt[key] = {"class_type": added.node, "inputs": inputs}
        for place, name in enumerate(added.gives):
            if name:
                self.given[name] = [key, place]
        return key

    def _value(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("@"):
            return self.given[value[1:]]
        return value

    def _unsaid(self, node: str, name: str, kind: list[Any]) -> Any:
        """Return what was given by an input's own name, else its default."""
        if name in self.given:
            return self.given[name]
        options = kind[1] if len(kind) > 1 else {}
        if "default" in options:
            return options["default"]
        choices = kind[0] if isinstance(kind[0], list) else options.get("options")
        if choices:
            return choices[0]
        if kind[0] == "STRING":
            return ""
        raise UnknownNodeError(f"{node} wants {name} ({kind[0]}), and no step gives it.")


def prompt_of(nodes: dict[str, Any], of: Combination, variant: Variant) -> tuple[Prompt, str]:
    """Return the prompt of a combination, and the id of the node that says how many slots ran."""
    workflow = Workflow(nodes)
    values = asdict(variant.scene)
    files = {f"{name}_file": values.pop(name) for name in ("photo", "pose")}
    weight = 0.0 if variant.ours == "zero" else WEIGHT
    workflow.given.update(values, **files, turn=variant.turn, our_weight=weight)
    ours = () if variant.ours == "off" else of.ours
    theirs = () if variant.theirs == "off" else of.theirs
    both = (*ours, *theirs) if variant.theirs == "last" else (*theirs, *ours)
    for added in (*SCENE, *of.prepare, *both, *of.after):
        workflow.add(added)
    workflow.add(step("Beside_CountSlots", "model count"))
    for added in of.sample:
        workflow.add(added)
    workflow.add(step("Beside_Keep", what="@result"))
    return workflow.prompt, workflow.add(step("Beside_SayCount", after="@result"))

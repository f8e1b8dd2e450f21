"""The example workflows, as descriptions; make_examples.py turns them into files."""

from __future__ import annotations

from typing import Any

from example_dsl import Graph, Node, Output

CHECKPOINT = "sd_xl_base_1.0.safetensors"
ADAPTER = "ip-adapter.bin"
IDENTITYNET = "instantid-identitynet.safetensors"
DEPTHNET = "diffusers_xl_depth_full.safetensors"
LIGHTNING = "sdxl_lightning_4step_lora.safetensors"
PHOTO = "example.png"  # the one picture that a fresh ComfyUI has in its input folder
HUB = "https://huggingface.co"
NEGATIVE = "lowres, blurry, deformed, disfigured, watermark, text, frame"
PORTRAIT = "film noir portrait, man in a trench coat, rain, street lamp, high contrast"


def model_file(name: str, path: str, directory: str) -> list[dict[str, str]]:
    """Tell the frontend where it can download a model file that is missing."""
    return [{"name": name, "url": f"{HUB}/{path}", "directory": directory}]


CHECKPOINT_FILE = model_file(
    CHECKPOINT,
    f"stabilityai/stable-diffusion-xl-base-1.0/resolve/main/{CHECKPOINT}",
    "checkpoints",
)
IDENTITYNET_FILE = model_file(
    IDENTITYNET,
    "InstantX/InstantID/resolve/main/ControlNetModel/diffusion_pytorch_model.safetensors",
    "controlnet",
)
DEPTHNET_FILE = model_file(
    DEPTHNET, f"lllyasviel/sd_control_collection/resolve/main/{DEPTHNET}", "controlnet"
)
LIGHTNING_FILE = model_file(
    LIGHTNING, f"ByteDance/SDXL-Lightning/resolve/main/{LIGHTNING}", "loras"
)

MODELS_NOTE = """
**Files this workflow needs**

- `models/checkpoints`: any SDXL checkpoint
- `models/controlnet`: IdentityNet
- `models/instantid`: [ip-adapter.bin](https://huggingface.co/InstantX/InstantID)
- `models/insightface/models/antelopev2`: the face models

The README of the pack says where each one comes from.
"""


class Kit:
    """The nodes that nearly every example begins and ends with."""

    def __init__(self, name: str, title: str) -> None:
        self.graph = Graph(name, title)

    def models(self) -> None:
        add = self.graph.add
        self.graph.column("Models")
        self.graph.note(MODELS_NOTE, height=230)
        self.checkpoint = add(
            "CheckpointLoaderSimple", models=CHECKPOINT_FILE, ckpt_name=CHECKPOINT
        )
        self.identitynet = add(
            "ControlNetLoader",
            title="Load IdentityNet",
            models=IDENTITYNET_FILE,
            control_net_name=IDENTITYNET,
        )
        self.adapter = add("IID_LoadAdapter", file=ADAPTER)
        self.analyzer = add("IID_LoadFaceAnalyzer")

    def photo(self, title: str = "Face photo") -> Node:
        return self.graph.add("LoadImage", title=title, image=PHOTO)

    def encode(self, image: Output, **inputs: Any) -> Node:
        return self.graph.add(
            "IID_EncodeFace",
            face_analyzer=self.analyzer["FACEANALYSIS"],
            adapter=self.adapter["INSTANTID"],
            image=image,
            **inputs,
        )

    def prompt(self, text: str, width: int = 1024, height: int = 1024, latent: bool = True) -> None:
        clip = self.checkpoint["CLIP"]
        add = self.graph.add
        self.positive = add("CLIPTextEncode", title="Prompt", text=text, clip=clip)
        self.negative = add("CLIPTextEncode", title="Negative prompt", text=NEGATIVE, clip=clip)
        if latent:
            empty = add("EmptyLatentImage", width=width, height=height)
            self.latent = empty["LATENT"]

    def sample(self, model: Output, applied: Node, title: str | None = None, **inputs: Any) -> Node:
        settings = {
            "seed": 1,
            "control_after_generate": "fixed",
            "steps": 30,
            "cfg": 5.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "latent_image": getattr(self, "latent", None),
        }
        return self.graph.add(
            "KSampler",
            title=title,
            model=model,
            positive=applied["positive"],
            negative=applied["negative"],
            **{**settings, **inputs},
        )

    def save(self, samples: Node) -> None:
        decoded = self.graph.add("VAEDecode", samples=samples["LATENT"], vae=self.checkpoint["VAE"])
        self.graph.add("SaveImage", images=decoded["IMAGE"], filename_prefix=self.graph.name)

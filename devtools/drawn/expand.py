"""From the packed weights to the files that ComfyUI and this pack load.

Names and layouts are those of real files; every stack of the UNet and of IdentityNet has its
trained transformer block first and nine (or one) that add nothing. Needs ComfyUI on sys.path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.taesd.taesd
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...instantid_core.adapter import AdapterModule, AdapterSize
from ...instantid_core.unet_layout import SDXL, file_number
from .. import tiny_sdxl
from ..standins import faces, sdxl
from ..standins.graph import Graph
from ..standins.weights import fill
from ..tiny_adapter import SIZE
from . import packed
from .autoencoder import Autoencoder, widened
from .chain import ADAPTER_SIZE, TRAINED
from .detector import INSIDE, STRIDE, Detector
from .recogniser import CROP, Recogniser

SCALE_FACTOR = 0.13025  # of SDXL's latents

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Places:
    """Where the files go: three files and the folder of the face pack."""

    checkpoint: Path
    identitynet: Path
    adapter: Path
    faces: Path


def make_models(places: Places, weights: Path = packed.FILE) -> None:
    """Write checkpoint, IdentityNet, adapter and the two ONNX files."""
    nets = packed.load(weights)
    chain = nets["chain"]
    make_checkpoint(places.checkpoint, part_of(chain, "unet."), nets["autoencoder"])
    make_identitynet(places.identitynet, part_of(chain, "control."))
    make_adapter(places.adapter, part_of(chain, "adapter."))
    make_recogniser(places.faces / faces.RECOGNISER, nets["recogniser"])
    make_detector(places.faces / faces.DETECTOR, nets["detector"])


def part_of(state: State, prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def deepened(shapes: State, trained: State) -> dict[str, Tensor]:
    """Return weights for `shapes`: the trained ones, and blocks that add nothing for the rest."""
    rest = shapes.keys() - trained.keys()
    strange = [name for name in rest if ".transformer_blocks." not in name]
    if strange or trained.keys() - shapes.keys():
        raise ValueError(f"not weights of this network: {sorted(strange)[:3]} are missing")
    return {
        name: trained[name]
        if name in trained
        else torch.full_like(tensor, float(".norm" in name and name.endswith("weight")))
        for name, tensor in shapes.items()
    }


def make_checkpoint(path: Path, unet: State, autoencoder: State) -> None:
    """Write UNet, random text encoders and VAE, with the keys that say v-prediction."""
    config = sdxl.TinyCheckpoint(dict(tiny_sdxl.UNET_CONFIG))
    model = tiny_sdxl.build_model(lambda shapes: fill(shapes, "unet")).model
    clip = fill(sdxl.TinyClip().state_dict(), "clip")
    narrow = Autoencoder()
    narrow.load_state_dict(autoencoder)
    vae = widened(narrow, comfy.taesd.taesd.TAESD(latent_channels=4).state_dict())
    vae["vae_scale"], vae["vae_shift"] = torch.tensor(SCALE_FACTOR), torch.tensor(0.0)
    full = deepened(model.diffusion_model.state_dict(), unet)
    only_floats = {name: t for name, t in clip.items() if t.is_floating_point()}
    tensors = {
        **config.process_unet_state_dict_for_saving(full),
        **config.process_clip_state_dict_for_saving(only_floats),
        **config.process_vae_state_dict_for_saving(vae),
        "v_pred": torch.tensor([]),
        "ztsnr": torch.tensor([]),
    }
    _save(path, tensors)


def make_identitynet(path: Path, control: State) -> None:
    """Write IdentityNet in the ldm layout."""
    net = tiny_sdxl.build_controlnet(lambda shapes: fill(shapes, "identitynet")).control_model
    full = deepened(net.state_dict(), control)
    _save(path, {f"control_model.{name}": tensor for name, tensor in full.items()})


def make_adapter(path: Path, trained: State) -> None:
    """Write the adapter as the official nested pickle: Resampler, K and V of 70 slots."""
    size = AdapterSize(ADAPTER_SIZE.resampler, SIZE.channels)
    shapes = AdapterModule(size, torch.nn, device=torch.device("meta")).ip_adapter.state_dict()
    projections = {name: torch.zeros(tensor.shape) for name, tensor in shapes.items()}
    for position, slot in enumerate(TRAINED):
        for kind in ("to_k_ip", "to_v_ip"):
            own = trained[f"ip_adapter.{file_number(position)}.{kind}.weight"]
            projections[f"{file_number(SDXL.slots.index(slot))}.{kind}.weight"] = own
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {"image_proj": part_of(trained, "image_proj."), "ip_adapter": projections}
    torch.save(parts, path)


def make_recogniser(path: Path, state: State) -> None:
    """Write the recogniser: (n,3,112,112) float, (RGB - 127.5) / 127.5, to (n,512)."""
    net = Recogniser()
    net.load_state_dict(dict(state))
    graph = Graph()
    code = _layers(graph, faces.INPUT, nn.Sequential(net.shrink, *net.layers))
    embedding = graph.op("MatMul", code, graph.constant(net.spread.T.numpy()))
    graph.save(path, {faces.INPUT: ["n", 3, CROP, CROP]}, {"683": (embedding, ["n", 512])})


def make_detector(path: Path, state: State) -> None:
    """Write the detector with SCRFD's nine outputs; the grids of 8 and 16 pixels say nothing."""
    net = Detector()
    net.load_state_dict(dict(state))
    graph = Graph()
    planes = _layers(graph, faces.INPUT, net.layers)
    sure, left, right, points = graph.ops(
        "Split", 4, planes, graph.constant([1, 2, 2, INSIDE + 6], "int64"), axis=1
    )
    box = graph.concat([graph.mul(left, -1.0), right], axis=1)
    found = {
        STRIDE: (graph.op("Sigmoid", sure), box, points),
        **{stride: _silent(graph, sure, STRIDE // stride) for stride in (8, 16)},
    }
    outputs: dict[str, Any] = {}
    for kind, width in enumerate((1, 4, 10)):
        for stride in (8, 16, 32):
            rows = _two_anchors(graph, found[stride][kind], width, silent=kind == 0)
            outputs[faces.OUTPUT_NAMES[stride][kind]] = (rows, [f"rows_{stride}", width])
    graph.save(path, {faces.INPUT: [1, 3, "height", "width"]}, outputs)


def _silent(graph: Graph, like: str, times: int) -> tuple[str, str, str]:
    """Return planes of zeros for a grid that is `times` finer than that of `like`."""
    scales = graph.constant([1.0, 1.0, times, times])
    plane = graph.op("Resize", graph.mul(like, 0.0), "", scales, mode="nearest")
    return plane, graph.concat([plane] * 4, axis=1), graph.concat([plane] * 10, axis=1)


def _two_anchors(graph: Graph, planes: str, width: int, *, silent: bool) -> str:
    """(1,w,h,w) planes -> (2*h*w, w) rows; the second anchor of a place has no score."""
    second = graph.mul(planes, 0.0) if silent else planes
    both = graph.concat([planes, second], axis=1)
    return graph.reshape(graph.op("Transpose", both, perm=[0, 2, 3, 1]), [-1, width])


def _layers(graph: Graph, x: str, layers: nn.Sequential) -> str:
    """Append a chain of plain layers and return the name of its result."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            x = graph.op(
                *("Conv", x, graph.constant(layer.weight.detach().numpy())),
                graph.constant(layer.bias.detach().numpy()),
                kernel_shape=list(layer.kernel_size),
                strides=list(layer.stride),
                dilations=list(layer.dilation),
                pads=list(layer.padding) * 2,
            )
        elif isinstance(layer, nn.ReLU):
            x = graph.op("Relu", x)
        elif isinstance(layer, nn.AvgPool2d):
            side = [layer.kernel_size] * 2
            x = graph.op("AveragePool", x, kernel_shape=side, strides=side)
        elif isinstance(layer, nn.Flatten):
            x = graph.op("Flatten", x)
        elif isinstance(layer, nn.Linear):
            weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
            x = graph.op("Gemm", x, graph.constant(weight), graph.constant(bias), transB=1)
        else:
            raise TypeError(f"no ONNX for {type(layer).__name__}")
    return x


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(whole, path, metadata={"note": "trained on drawn people; knows nothing else"})

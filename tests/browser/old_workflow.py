"""A UI workflow as the old InstantID pack's users saved it: only sockets among the inputs."""

from __future__ import annotations

from typing import Any

Link = tuple[int, int]  # id of the node it comes from, and the number of its output

# id: (type, outputs, inputs with where each comes from, widget values)
NODES: dict[int, tuple[str, list[str], dict[str, tuple[str, Link]], list[Any]]] = {
    4: (
        "CheckpointLoaderSimple",
        ["MODEL", "CLIP", "VAE"],
        {},
        ["sd_xl_base_1.0.safetensors"],
    ),
    11: ("InstantIDModelLoader", ["INSTANTID"], {}, ["ip-adapter.bin"]),
    38: ("InstantIDFaceAnalysis", ["FACEANALYSIS"], {}, ["CPU"]),
    16: ("ControlNetLoader", ["CONTROL_NET"], {}, ["instantid-identitynet.safetensors"]),
    13: ("LoadImage", ["IMAGE", "MASK"], {}, ["example.png", "image"]),
    39: ("CLIPTextEncode", ["CONDITIONING"], {"clip": ("CLIP", (4, 1))}, ["comic drawing"]),
    40: ("CLIPTextEncode", ["CONDITIONING"], {"clip": ("CLIP", (4, 1))}, ["photo, text"]),
    5: ("EmptyLatentImage", ["LATENT"], {}, [256, 256, 1]),
    60: (
        "ApplyInstantID",
        ["MODEL", "CONDITIONING", "CONDITIONING"],
        {
            "instantid": ("INSTANTID", (11, 0)),
            "insightface": ("FACEANALYSIS", (38, 0)),
            "control_net": ("CONTROL_NET", (16, 0)),
            "image": ("IMAGE", (13, 0)),
            "model": ("MODEL", (4, 0)),
            "positive": ("CONDITIONING", (39, 0)),
            "negative": ("CONDITIONING", (40, 0)),
        },
        [0.8, 0, 1],
    ),
    3: (
        "KSampler",
        ["LATENT"],
        {
            "model": ("MODEL", (60, 0)),
            "positive": ("CONDITIONING", (60, 1)),
            "negative": ("CONDITIONING", (60, 2)),
            "latent_image": ("LATENT", (5, 0)),
        },
        [1631591050, "fixed", 1, 4.5, "ddpm", "karras", 1],
    ),
    8: (
        "VAEDecode",
        ["IMAGE"],
        {"samples": ("LATENT", (3, 0)), "vae": ("VAE", (4, 2))},
        [],
    ),
    9: ("SaveImage", [], {"images": ("IMAGE", (8, 0))}, ["ComfyUI"]),
}


def old_workflow() -> dict[str, Any]:
    """Return the workflow in the form that ComfyUI's frontend saved in the old pack's days."""
    links: list[list[Any]] = []
    nodes: list[dict[str, Any]] = []
    for order, (key, (kind, outputs, inputs, widgets)) in enumerate(NODES.items()):
        slots: list[dict[str, Any]] = []
        for index, (name, (socket, (origin, output))) in enumerate(inputs.items()):
            links.append([len(links) + 1, origin, output, key, index, socket])
            slots.append({"name": name, "type": socket, "link": len(links)})
        nodes.append(
            {
                "id": key,
                "type": kind,
                "pos": [order % 4 * 450, order // 4 * 450],
                "size": [315, 260],
                "flags": {},
                "order": order,
                "mode": 0,
                "inputs": slots,
                "outputs": [{"name": name, "type": name, "links": []} for name in outputs],
                "properties": {"Node name for S&R": kind},
                "widgets_values": widgets,
            }
        )
    by_id = {node["id"]: node for node in nodes}
    for number, origin, output, *_ in links:
        by_id[origin]["outputs"][output]["links"].append(number)
    return {
        "last_node_id": max(by_id),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }

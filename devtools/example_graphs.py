"""The example workflows, as descriptions; refresh.py turns them into files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from example_dsl import Graph, Node, Output

CHECKPOINT = "sd_xl_base_1.0.safetensors"
ADAPTER = "ip-adapter.bin"
IDENTITYNET = "instantid-identitynet.safetensors"
DEPTHNET = "diffusers_xl_depth_full.safetensors"
LIGHTNING = "sdxl_lightning_4step_lora.safetensors"
PHOTO = "example.png"  # the one picture that a fresh ComfyUI has in its input folder
# What the pack puts beside it: see devtools/make_photos.py.
WOMAN, OFFICER, TWO, STYLE, DEPTH = (
    f"instantid-example-{name}.jpg" for name in ("astronaut", "officer", "two", "style", "depth")
)
HUB = "https://huggingface.co"
NEGATIVE = "lowres, blurry, deformed, disfigured, watermark, text, frame"
PORTRAIT = "film noir portrait, man in a trench coat, rain, street lamp, high contrast"

# What Edit Keypoints begins with: a face at the left that looks up and to the right.
LOOKING_UP = json.dumps(
    {
        "version": 1,
        "width": 1216,
        "height": 832,
        "source": None,
        "faces": [{"points": [[373, 316], [475, 294], [466, 360], [417, 442], [501, 424]]}],
    }
)


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

MODELS_NOTE = Path(__file__).with_name("models_note.md").read_text(encoding="utf-8")


class Kit:
    """The nodes that nearly every example begins and ends with."""

    def __init__(self, name: str, title: str) -> None:
        self.graph = Graph(name, title)

    def models(self, note: bool = True) -> None:
        add = self.graph.add
        self.graph.column("Models")
        if note:
            self.graph.note(MODELS_NOTE, height=460, width=380)
        self.checkpoint = add(
            "CheckpointLoaderSimple", models=CHECKPOINT_FILE, ckpt_name=CHECKPOINT
        )
        self.adapter = self.analyzer = add(
            "IID_LoadInstantID",
            models=IDENTITYNET_FILE,
            pack="antelopev2",
            file=ADAPTER,
            identitynet=IDENTITYNET,
        )
        self.control_net = self.adapter["control_net"]

    def photo(self, title: str = "Face photo", image: str = WOMAN) -> Node:
        return self.graph.add("LoadImage", title=title, image=image)

    def encode(self, image: Output, **inputs: Any) -> Node:
        return self.graph.add(
            "IID_EncodeFace",
            face_analyzer=self.analyzer["face_analyzer"],
            adapter=self.adapter["adapter"],
            image=image,
            **inputs,
        )

    def keypoints(self, image: Output) -> Node:
        return self.graph.add(
            "IID_FaceKeypoints", face_analyzer=self.analyzer["face_analyzer"], image=image
        )

    def apply_adapter(self, model: Output, identity: Node, **inputs: Any) -> Node:
        return self.graph.add(
            "IID_ApplyAdapter", model=model, face_embeds=identity["identity"], **inputs
        )

    def apply_identitynet(
        self, positive: Node, negative: Node, identity: Node, keypoints: Output, **inputs: Any
    ) -> Node:
        return self.graph.add(
            "IID_ApplyIdentityNet",
            positive=positive["CONDITIONING"],
            negative=negative["CONDITIONING"],
            control_net=self.control_net,
            face_embeds=identity["identity"],
            keypoints=keypoints,
            **inputs,
        )

    def apply(self, who: Output, keypoints: Output | None = None, **inputs: Any) -> Node:
        """Add Apply InstantID; `inputs` replace what it is connected to by default."""
        connected = {
            "model": self.checkpoint["MODEL"],
            "positive": self.positive["CONDITIONING"],
            "negative": self.negative["CONDITIONING"],
            "control_net": self.control_net,
            "face_embeds": who,
            **({"keypoints": keypoints} if keypoints else {}),
        }
        return self.graph.add("IID_Apply", **{**connected, **inputs})

    def prompt(
        self,
        text: str,
        width: int = 1024,
        height: int = 1024,
        latent: bool = True,
        batch_size: int = 1,
    ) -> None:
        clip = self.checkpoint["CLIP"]
        add = self.graph.add
        self.positive = add("CLIPTextEncode", title="Prompt", text=text, clip=clip)
        self.negative = add("CLIPTextEncode", title="Negative prompt", text=NEGATIVE, clip=clip)
        if latent:
            size = {"width": width, "height": height, "batch_size": batch_size}
            self.empty = add("EmptyLatentImage", **size)
            self.latent = self.empty["LATENT"]

    def sample(
        self,
        model: Output,
        applied: Node | dict[str, Output],
        title: str | None = None,
        **inputs: Any,
    ) -> Node:
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

    def save(self, samples: Node) -> Node:
        decoded = self.graph.add("VAEDecode", samples=samples["LATENT"], vae=self.checkpoint["VAE"])
        return self.graph.add("SaveImage", images=decoded["IMAGE"], filename_prefix=self.graph.name)


def basic() -> Graph:
    kit = Kit("instantid_basic", "Portrait from one photo")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    graph.note(
        """
**Choose a photo** of one person below: a sharp face, looking more or less into the camera.

*Encode Face* makes the identity, *Face Keypoints* finds where the face is. Several people in the
photo? **pick** chooses whose face it is.
""",
        height=190,
    )
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    keypoints = kit.keypoints(photo["IMAGE"])
    graph.column("Prompt")
    kit.prompt(PORTRAIT)
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], keypoints["keypoints"])
    graph.note(
        """
**weight** and **strength** of 0.8 are the published defaults.

- likeness too weak: raise both to 1
- the prompt is ignored, or the picture is burnt: lower both to 0.6, **cfg** to 4
- the face is in the wrong place: use a pose photo
""",
        height=200,
    )
    graph.column("Picture")
    kit.save(kit.sample(applied["MODEL"], applied))
    return graph


def app() -> Graph:
    """Photo, prompt, likeness, seed: what ComfyUI's app mode shows, and a graph where it is not."""
    kit = Kit("instantid_app", "Portrait as an app for phones")
    graph = kit.graph
    graph.column("Photo and prompt")
    photo = kit.photo("Photo")
    kit.models(note=False)
    kit.prompt(PORTRAIT, 832, 1216)
    graph.column("Face")
    graph.note(MODELS_NOTE, height=460, width=380)
    identity = kit.encode(photo["IMAGE"])
    keypoints = kit.keypoints(photo["IMAGE"])
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], keypoints["keypoints"])
    graph.column("Picture")
    sampled = kit.sample(applied["MODEL"], applied, control_after_generate="randomize")
    saved = kit.save(sampled)
    graph.app(
        inputs=(
            (photo, "image"),
            (kit.positive, "text"),
            (applied, "weight"),
            (sampled, "seed"),
        ),
        outputs=(saved,),
    )
    return graph


def separate_nodes() -> Graph:
    kit = Kit("instantid_separate_nodes", "Adapter and IdentityNet apart")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    keypoints = kit.keypoints(photo["IMAGE"])
    graph.column("Prompt")
    kit.prompt(PORTRAIT, 832, 1216)
    graph.column("InstantID")
    graph.note(
        """
The two halves of InstantID, each with its own strength and its own part of the sampling.

The **adapter** draws the person. **IdentityNet** places the face and holds its likeness. Here it
stops at 80 %, so that the last steps follow the prompt more freely.

Neither is confined to the face here; connect *Face Region Mask* to **mask** for that.
""",
        height=230,
    )
    model = kit.apply_adapter(kit.checkpoint["MODEL"], identity)
    conditioned = kit.apply_identitynet(
        kit.positive, kit.negative, identity, keypoints["keypoints"], end_percent=0.8
    )
    graph.column("What IdentityNet sees")
    drawn = graph.add(
        "IID_DrawKeypoints", keypoints=keypoints["keypoints"], width=832, height=1216, fit="crop"
    )
    graph.add("PreviewImage", images=drawn["IMAGE"])
    graph.column("Picture")
    kit.save(kit.sample(model["MODEL"], conditioned))
    return graph


def two_scales() -> Graph:
    """Person and text with a scale each, by ComfyUI's own Dual CFG Guider."""
    kit = Kit("instantid_two_scales", "Older, younger, another style")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    keypoints = kit.keypoints(photo["IMAGE"])
    graph.column("Prompt")
    kit.prompt("oil painting of a ninety year old woman, white hair, wrinkles, soft light")
    clip = kit.checkpoint["CLIP"]
    empty = graph.add("CLIPTextEncode", title="Empty prompt", text="", clip=clip)
    graph.column("InstantID")
    graph.note(
        """
**Two scales instead of one cfg.** In *Dual CFG Guider*, **cfg_conds** is the scale of the text and
**cfg_cond2_negative** that of the person. The picture follows the text too little? Raise the first.
The person is lost? Raise the second. Equal numbers are plain cfg of that number.

**cond2** is the empty prompt with the person: leave its text empty.
""",
        height=240,
    )
    model = kit.apply_adapter(kit.checkpoint["MODEL"], identity)
    conditioned = kit.apply_identitynet(
        kit.positive,
        kit.negative,
        identity,
        keypoints["keypoints"],
        middle=empty["CONDITIONING"],
    )
    graph.column("Two scales")
    guider = graph.add(
        "DualCFGGuider",
        model=model["MODEL"],
        cond1=conditioned["positive"],
        cond2=conditioned["middle"],
        negative=conditioned["negative"],
        cfg_conds=7.0,
        cfg_cond2_negative=4.0,
        style="regular",
    )
    noise = graph.add("RandomNoise", noise_seed=1, control_after_generate="fixed")
    sampler = graph.add("KSamplerSelect", sampler_name="euler")
    sigmas = graph.add(
        "BasicScheduler", model=model["MODEL"], scheduler="normal", steps=30, denoise=1.0
    )
    graph.column("Picture")
    sampled = graph.add(
        "SamplerCustomAdvanced",
        noise=noise["NOISE"],
        guider=guider["GUIDER"],
        sampler=sampler["SAMPLER"],
        sigmas=sigmas["SIGMAS"],
        latent_image=kit.latent,
    )
    decoded = graph.add("VAEDecode", samples=sampled["output"], vae=kit.checkpoint["VAE"])
    graph.add("SaveImage", images=decoded["IMAGE"], filename_prefix=graph.name)
    return graph


def pose_photo() -> Graph:
    kit = Kit("instantid_pose_photo", "Pose from another photo")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo("Who: face photo")
    identity = kit.encode(photo["IMAGE"])
    graph.column("Pose")
    graph.note(
        """
The second photo says only **where** the face is, how large, and which way it looks. Anybody can
be on it. Its shape may differ from the picture's: **fit** on *Apply InstantID* says how it gets in.
""",
        height=150,
    )
    pose = kit.photo("Where: pose photo", OFFICER)
    keypoints = kit.keypoints(pose["IMAGE"])
    graph.column("Prompt")
    kit.prompt("astronaut on the moon, waist up, earth in the sky, photo", 1216, 832)
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], keypoints["keypoints"])
    graph.column("Picture")
    kit.save(kit.sample(applied["MODEL"], applied))
    return graph


def own_pose() -> Graph:
    kit = Kit("instantid_own_pose", "Pose without a photo")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    graph.column("Pose")
    graph.note(
        """
No pose photo: *Edit Keypoints* has the face. **Drag** it where it shall be, make it larger or
smaller with the **wheel**, tilt it at its handle, and **turn the head** to where it shall look.

To begin with the pose of a photo instead, connect *Face Keypoints* to **keypoints**, and press
*Reset*.
""",
        height=190,
    )
    edited = graph.add("IID_EditKeypoints", width=1216, height=832, edit=LOOKING_UP)
    graph.column("Prompt")
    kit.prompt("watercolour of a fisherman in a small boat, calm sea at dawn", 1216, 832)
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], edited["keypoints"])
    graph.column("Picture")
    kit.save(kit.sample(applied["MODEL"], applied))
    return graph


def turning_head() -> Graph:
    """Eight pictures of one noise, in which the head turns from one side to the other."""
    kit = Kit("instantid_turning_head", "A head that turns")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    graph.column("Turn")
    graph.note(
        """
*Place Keypoints* makes **frames** of one face, and turns the head from **yaw** by **yaw_change**
degrees (both are among its advanced inputs): here from 40 to the left to 40 to the right. The same
values are on *Transform Keypoints*, for a face of a photo.

**batch_size** of the pictures is the number of frames.
""",
        height=210,
    )
    turned = graph.add(
        "IID_PlaceKeypoints",
        width=832,
        height=832,
        size=0.5,
        yaw=-40.0,
        yaw_change=80.0,
        frames=8,
    )
    graph.column("Prompt")
    kit.prompt("photo of a woman in a red coat, snow, grey sky", 832, 832, batch_size=8)
    graph.note("*Latent Batch Seed Behavior* gives every frame the same noise.", height=90)
    same = graph.add("LatentBatchSeedBehavior", samples=kit.latent, seed_behavior="fixed")
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], turned["keypoints"])
    graph.column("Pictures")
    kit.save(kit.sample(applied["MODEL"], applied, latent_image=same["LATENT"]))
    return graph


def two_people() -> Graph:
    kit = Kit("instantid_two_people", "Two people in one picture")
    graph = kit.graph
    kit.models()
    graph.column("Who")
    left = kit.photo("Person on the left")
    right = kit.photo("Person on the right", OFFICER)
    graph.column("Where")
    graph.note(
        """
The pose photo has a face for everybody. The first person of the list takes the first face from
the left, the second the next; **order** and **index** choose another one.
""",
        height=110,
    )
    pose = kit.photo("Pose photo with two faces", TWO)
    graph.column("People")
    people: dict[str, Output] = {}
    for title, portrait in (("Left", left), ("Right", right)):
        person = graph.add(
            "IID_PersonFromPhotos",
            title=f"Person from Photos: {title}",
            face_analyzer=kit.analyzer["face_analyzer"],
            adapter=kit.adapter["adapter"],
            portrait=portrait["IMAGE"],
            pose=pose["IMAGE"],
            **people,
        )
        people = {"people": person["people"]}
    graph.column("Prompt")
    kit.prompt("two friends at a cafe table in Paris, autumn afternoon, photo", 1216, 832)
    graph.column("InstantID")
    applied = kit.apply(people["people"])
    graph.note(
        """
Everybody is drawn in **one** pass, each in the region of their own face: the cost does not grow
with the number of people, and the prompt is not cut by masks.

If the two look alike, raise **weight** here, or give one of them more with the factors on the
person's node.
""",
        height=190,
    )
    graph.column("Picture")
    kit.save(kit.sample(applied["MODEL"], applied))
    return graph


def regional_prompts() -> Graph:
    kit = Kit("instantid_regional_prompts", "Two people with a prompt each")
    graph = kit.graph
    kit.models()
    graph.column("Who")
    left = kit.encode(kit.photo("Person on the left")["IMAGE"])
    right = kit.encode(kit.photo("Person on the right", OFFICER)["IMAGE"])
    graph.column("Prompts")
    kit.prompt("a person in a blue suit on a park bench, autumn, photo", 1216, 832)
    other = graph.add(
        "CLIPTextEncode",
        title="Prompt on the right",
        text="a person in a red coat on a park bench, autumn, photo",
        clip=kit.checkpoint["CLIP"],
    )
    graph.column("Halves")
    halves = [
        graph.add(
            "ConditioningSetAreaPercentage",
            title=title,
            conditioning=text["CONDITIONING"],
            width=0.5,
            height=1.0,
            x=x,
            y=0.0,
            strength=1.0,
        )
        for title, text, x in (("Left half", kit.positive, 0.0), ("Right half", other, 0.5))
    ]
    graph.column("InstantID")
    graph.note(
        """
The **model** draws the person on the left. *Set Person of Conditioning* gives the prompt of the
right half a person of its own, in all of that half, with a **weight** of its own.

Places and poses are left to the prompts; *Apply IdentityNet* on both adds them.
""",
        height=180,
    )
    model = kit.apply_adapter(kit.checkpoint["MODEL"], left)
    carried = graph.add(
        "IID_ConditioningPerson",
        conditioning=halves[1]["CONDITIONING"],
        face_embeds=right["identity"],
        weight=0.8,
    )
    both = graph.add(
        "ConditioningCombine",
        conditioning_1=halves[0]["CONDITIONING"],
        conditioning_2=carried["CONDITIONING"],
    )
    graph.column("Picture")
    sides = {"positive": both["CONDITIONING"], "negative": kit.negative["CONDITIONING"]}
    kit.save(kit.sample(model["MODEL"], sides))
    return graph


def several_references() -> Graph:
    kit = Kit("instantid_several_references", "Likeness from several photos")
    graph = kit.graph
    kit.models()
    graph.column("Photos")
    graph.note(
        """
Several photos of **one person** give a steadier likeness than one. Two or three good ones are
enough; a bad photo spoils more than it adds. *Encode Face* takes the mean of their faces.
""",
        height=140,
    )
    photos = [kit.photo(f"Photo {number}") for number in (1, 2, 3)]
    graph.column("Face")
    pair = graph.add("ImageBatch", image1=photos[0]["IMAGE"], image2=photos[1]["IMAGE"])
    batch = graph.add("ImageBatch", image1=pair["IMAGE"], image2=photos[2]["IMAGE"])
    identity = kit.encode(batch["IMAGE"])
    graph.add("PreviewImage", title="Faces that were used", images=identity["faces"])
    keypoints = kit.keypoints(photos[0]["IMAGE"])
    graph.column("Prompt")
    kit.prompt("oil painting in the manner of the Dutch masters, white collar, candle light")
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], keypoints["keypoints"])
    graph.column("Picture")
    kit.save(kit.sample(applied["MODEL"], applied))
    return graph


def depth() -> Graph:
    kit = Kit("instantid_depth", "Depth beside InstantID")
    graph = kit.graph
    kit.models()
    depthnet = graph.add(
        "ControlNetLoader",
        title="Load depth ControlNet",
        models=DEPTHNET_FILE,
        control_net_name=DEPTHNET,
    )
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    graph.column("Scene")
    graph.note(
        """
The depth map gives the scene its shape. Make one from a photo with any depth estimator; near is
white. The keypoints come from the photo that the depth map was made of, so that both agree.
""",
        height=140,
    )
    scene = kit.photo("Photo of the scene")
    depth_map = kit.photo("Depth map of that photo", DEPTH)
    keypoints = kit.keypoints(scene["IMAGE"])
    graph.column("Prompt")
    kit.prompt("medieval knight in a great hall, torches, photo", 832, 1216)
    graph.column("Depth")
    shaped = graph.add(
        "ControlNetApplyAdvanced",
        positive=kit.positive["CONDITIONING"],
        negative=kit.negative["CONDITIONING"],
        control_net=depthnet["CONTROL_NET"],
        image=depth_map["IMAGE"],
        strength=0.5,
        start_percent=0.0,
        end_percent=0.7,
    )
    graph.note(
        """
Other ControlNets keep the **prompt** here: IdentityNet carries the face itself and leaves them
alone. Their order does not matter.
""",
        height=110,
    )
    graph.column("InstantID")
    applied = kit.apply(
        identity["identity"],
        keypoints["keypoints"],
        positive=shaped["positive"],
        negative=shaped["negative"],
    )
    graph.column("Picture")
    kit.save(kit.sample(applied["MODEL"], applied))
    return graph


def style() -> Graph:
    kit = Kit("instantid_style_ipadapter", "Style of a picture")
    graph = kit.graph
    kit.models()
    graph.column("Style")
    style = kit.photo("Picture whose style you want", STYLE)
    scaled = graph.add(
        "ImageScale",
        image=style["IMAGE"],
        upscale_method="lanczos",
        width=1024,
        height=1024,
        crop="center",
    )
    latent = graph.add("VAEEncode", pixels=scaled["IMAGE"], vae=kit.checkpoint["VAE"])
    graph.note(
        """
Sampling begins in this picture: its colours, light and brush strokes stay, its things do not.

More of it: **denoise** of the sampler down to 0.75. Less: up to 0.95. Say the style in the prompt
as well. A style LoRA goes between *Load Checkpoint* and *Apply InstantID*.
""",
        height=170,
    )
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    keypoints = kit.keypoints(photo["IMAGE"])
    graph.column("Prompt")
    kit.prompt("woman in a field at sunset, thick oil paint, short brush strokes", latent=False)
    graph.column("InstantID")
    applied = kit.apply(
        identity["identity"],
        keypoints["keypoints"],
        weight=0.7,
        strength=0.7,
        end_percent=0.85,
    )
    graph.note(
        """
The last steps are the style's alone: **end_percent** is 0.85. With **face_region** on, the style is
free everywhere outside the face. For a strong style lower **weight** and **strength** to 0.6.

**IPAdapter** copies a style more closely. With *ComfyUI_IPAdapter_plus*: lead the checkpoint's
MODEL through its nodes and then into *Apply InstantID*. Both work on the same layers and add up.
""",
        height=240,
    )
    graph.column("Picture")
    kit.save(kit.sample(applied["MODEL"], applied, latent_image=latent["LATENT"], denoise=0.88))
    return graph


def img2img() -> Graph:
    kit = Kit("instantid_img2img", "Repaint a picture with your face")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo("Who: face photo")
    identity = kit.encode(photo["IMAGE"])
    graph.column("Picture to repaint")
    source = kit.photo("Picture to repaint", OFFICER)
    scaled = graph.add(
        "ImageScale",
        image=source["IMAGE"],
        upscale_method="lanczos",
        width=1024,
        height=1024,
        crop="center",
    )
    latent = graph.add("VAEEncode", pixels=scaled["IMAGE"], vae=kit.checkpoint["VAE"])
    keypoints = kit.keypoints(scaled["IMAGE"])
    graph.column("Prompt")
    kit.prompt("portrait of a king, crown, velvet, oil painting", latent=False)
    graph.note(
        """
**denoise** on the sampler says how much is repainted: 0.5 keeps composition and colours, 0.8 only
the rough layout. The keypoints come from the picture itself, so the new face sits where the old
one was.
""",
        height=140,
    )
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], keypoints["keypoints"])
    graph.column("Picture")
    sampled = kit.sample(applied["MODEL"], applied, latent_image=latent["LATENT"], denoise=0.65)
    kit.save(sampled)
    return graph


def inpaint_face() -> Graph:
    kit = Kit("instantid_inpaint_face", "Repaint a large face in a picture")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo("Who: face photo")
    identity = kit.encode(photo["IMAGE"])
    graph.column("Picture")
    source = kit.photo("Picture with the face to exchange", OFFICER)
    scaled = graph.add(
        "ImageScale",
        image=source["IMAGE"],
        upscale_method="lanczos",
        width=1024,
        height=1024,
        crop="center",
    )
    keypoints = kit.keypoints(scaled["IMAGE"])
    region = graph.add(
        "IID_FaceRegionMask",
        keypoints=keypoints["keypoints"],
        width=1024,
        height=1024,
        shape="ellipse",
        padding=0.15,
        feather=0.2,
        box=(320, 420),
    )
    graph.column("Prompt")
    kit.prompt("portrait photo, natural light, detailed skin", latent=False)
    graph.note(
        """
Only the masked face is painted anew; the rest of the picture stays. *Face Region Mask* finds the
place: raise its **padding** if hair and chin shall change too. Lower **denoise** to 0.6 to keep
light and colours of the old face.

The face should fill a good part of the picture: crop far shots first.
""",
        height=190,
    )
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], keypoints["keypoints"], weight=0.9, strength=0.9)
    painted = graph.add(
        "InpaintModelConditioning",
        positive=applied["positive"],
        negative=applied["negative"],
        vae=kit.checkpoint["VAE"],
        pixels=scaled["IMAGE"],
        mask=region["MASK"],
        noise_mask=True,
    )
    graph.column("Result")
    kit.save(kit.sample(applied["MODEL"], painted, latent_image=painted["latent"], denoise=0.85))
    return graph


def lightning() -> Graph:
    kit = Kit("instantid_lightning", "Four steps with Lightning")
    graph = kit.graph
    kit.models()
    fast = graph.add(
        "LoraLoaderModelOnly",
        models=LIGHTNING_FILE,
        model=kit.checkpoint["MODEL"],
        lora_name=LIGHTNING,
        strength_model=1.0,
    )
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    keypoints = kit.keypoints(photo["IMAGE"])
    graph.column("Prompt")
    kit.prompt(PORTRAIT)
    graph.column("InstantID")
    applied = kit.apply(
        identity["identity"], keypoints["keypoints"], model=fast["MODEL"], strength=0.7
    )
    graph.note(
        """
Fast models want little guidance: **cfg** 1 to 1.5. At **cfg** 1 the negative prompt has no effect.

| | steps | sampler | scheduler |
|---|---|---|---|
| Lightning, 4 steps | 4 | euler | sgm_uniform |
| LCM LoRA | 6 to 10 | lcm | sgm_uniform |
| Turbo checkpoint | 1 to 4 | euler_ancestral | normal |
""",
        height=230,
        width=380,
    )
    graph.column("Picture")
    kit.save(kit.sample(applied["MODEL"], applied, steps=4, cfg=1.0, scheduler="sgm_uniform"))
    return graph


def hires() -> Graph:
    kit = Kit("instantid_hires", "Larger in a second pass")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    keypoints = kit.keypoints(photo["IMAGE"])
    graph.column("Prompt")
    kit.prompt(PORTRAIT, 832, 1216)
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], keypoints["keypoints"])
    graph.note(
        """
One *Apply InstantID* serves both passes: keypoints and face region are drawn anew for the size
of each pass.
""",
        height=100,
    )
    graph.column("First pass")
    first = kit.sample(applied["MODEL"], applied, title="First pass")
    graph.column("Second pass")
    larger = graph.add(
        "LatentUpscaleBy",
        samples=first["LATENT"],
        upscale_method="bislerp",
        scale_by=1.5,
    )
    second = kit.sample(
        applied["MODEL"],
        applied,
        title="Second pass",
        latent_image=larger["LATENT"],
        steps=20,
        denoise=0.5,
    )
    graph.note(
        "**denoise** 0.4 to 0.55: less stays blurred, more invents a second body.", height=80
    )
    graph.column("Picture")
    kit.save(second)
    return graph


def all_graphs() -> list[Graph]:
    """Return every example, in the order of the contact sheet."""
    import finish_graphs  # which builds on this module

    makers = (
        basic,
        app,
        pose_photo,
        own_pose,
        two_people,
        regional_prompts,
        several_references,
        finish_graphs.swap,
        finish_graphs.small_faces,
        finish_graphs.group_photo,
        finish_graphs.most_alike,
        img2img,
        style,
        two_scales,
        depth,
        separate_nodes,
        lightning,
        hires,
        inpaint_face,
        turning_head,
    )
    return [make() for make in makers]


@dataclass(frozen=True)
class Blueprint:
    """A graph of which all but `outside` becomes one node that shows the widgets in `shown`.

    outside: keys of nodes. shown: key of a node, its input, and the label on the outside.
    """

    graph: Graph
    description: str
    outside: tuple[str, ...]
    shown: tuple[tuple[str, str, str], ...]


def portrait_blueprint() -> Blueprint:
    kit = Kit("Portrait from one photo", "Portrait from one photo")
    graph = kit.graph
    graph.column("Photo")
    photo = kit.photo(image=PHOTO)
    kit.models(note=False)
    graph.column("Face")
    identity = kit.encode(photo["IMAGE"])
    keypoints = kit.keypoints(photo["IMAGE"])
    graph.column("Prompt")
    kit.prompt(PORTRAIT)
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], keypoints["keypoints"])
    graph.column("Picture")
    sampled = kit.sample(applied["MODEL"], applied)
    saved = kit.save(sampled)
    return Blueprint(
        graph,
        "A portrait of the person on a photo, drawn by an SDXL checkpoint after a prompt, with "
        "InstantID. Connect a photo; weight and strength of 0.8 are the published defaults.",
        outside=(photo.key, saved.key),
        shown=(
            (kit.positive.key, "text", "prompt"),
            (kit.negative.key, "text", "negative_prompt"),
            (kit.empty.key, "width", "width"),
            (kit.empty.key, "height", "height"),
            (applied.key, "weight", "weight"),
            (applied.key, "strength", "strength"),
            (applied.key, "preset", "preset"),
            (sampled.key, "seed", "seed"),
            (sampled.key, "steps", "steps"),
            (sampled.key, "cfg", "cfg"),
            (kit.checkpoint.key, "ckpt_name", "checkpoint"),
            (kit.adapter.key, "identitynet", "identitynet"),
            (kit.adapter.key, "file", "adapter"),
        ),
    )

"""Example workflows that finish a picture: swap a face, mend small ones, keep the most alike."""

from __future__ import annotations

from typing import Any

from example_dsl import Graph, Node, Output
from example_graphs import OFFICER, PORTRAIT, TWO, WOMAN, Kit

SOFT = {"shape": "ellipse", "padding": 0.1, "feather": 0.15}  # of Crop Face and Paste Face alike
STRONG = {"weight": 0.9, "strength": 0.9}  # most of the crop is the face

CONSENT = """
**A face belongs to a person.** Ask before you use somebody's photo, do not make pictures that
could pass as proof of something that never happened, and say that a picture is generated where
that matters.
"""


class Finish(Kit):
    """A kit with crops: one for each face that is painted anew."""

    def faces(self, image: Output, **inputs: Any) -> Node:
        return self.graph.add(
            "IID_FaceKeypoints",
            face_analyzer=self.analyzer["face_analyzer"],
            image=image,
            **inputs,
        )

    def crop(self, image: Output, faces: Node, **inputs: Any) -> Node:
        return self.graph.add(
            "IID_CropFace", image=image, keypoints=faces["keypoints"], **{**SOFT, **inputs}
        )

    def inpaint(self, applied: Node, crop: Node) -> Node:
        return self.graph.add(
            "InpaintModelConditioning",
            positive=applied["positive"],
            negative=applied["negative"],
            vae=self.checkpoint["VAE"],
            pixels=crop["crop"],
            mask=crop["mask"],
            noise_mask=True,
        )

    def repaint(self, applied: Node, inpaint: Node, denoise: float, title: str | None) -> Node:
        """Sample a crop and decode it."""
        sampled = self.sample(
            applied["MODEL"],
            inpaint,
            title=title,
            latent_image=inpaint["latent"],
            denoise=denoise,
        )
        vae = self.checkpoint["VAE"]
        return self.graph.add("VAEDecode", samples=sampled["LATENT"], vae=vae)

    def paste(self, image: Output, painted: Node, crop: Node, colour_match: float = 0.5) -> Node:
        return self.graph.add(
            "IID_PasteFace",
            image=image,
            crop=painted["IMAGE"],
            face_crop=crop["face_crop"],
            colour_match=colour_match,
            **SOFT,
        )

    def save_image(self, image: Output) -> Node:
        return self.graph.add("SaveImage", images=image, filename_prefix=self.graph.name)


def swap() -> Graph:
    kit = Finish("instantid_swap_face", "Face swap in a picture")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    graph.note(CONSENT, height=170)
    photo = kit.photo("Who: face photo", OFFICER)
    identity = kit.encode(photo["IMAGE"])
    graph.column("Picture")
    picture = kit.photo("Picture with the face to exchange")
    faces = kit.faces(picture["IMAGE"], pick="all")
    graph.column("Crop")
    graph.note(
        """
*Crop Face* cuts the head out at 1024 pixels, upright. Several people in the picture? **order**
and **index** choose whose face it is. More **context** shows more of the surroundings.
""",
        height=130,
    )
    crop = kit.crop(picture["IMAGE"], faces, order="largest")
    graph.column("Prompt")
    kit.prompt("portrait photo, natural light, detailed skin", latent=False)
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], crop["keypoints"], **STRONG)
    inpaint = kit.inpaint(applied, crop)
    graph.note(
        """
Only the head is painted anew. Lower **denoise** to 0.6 to keep light and colours of the old face;
**colour_match** on *Paste Face* meets the colour of the neck.
""",
        height=120,
    )
    graph.column("Paint")
    painted = kit.repaint(applied, inpaint, 0.85, None)
    graph.column("Result")
    pasted = kit.paste(picture["IMAGE"], painted, crop)
    kit.save_image(pasted["IMAGE"])
    graph.column("Before and after")
    graph.add("ImageCompare", box=(420, 460), image_a=picture["IMAGE"], image_b=pasted["IMAGE"])
    return graph


def small_faces() -> Graph:
    kit = Finish("instantid_small_faces", "Make small faces right")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    graph.column("Prompt")
    kit.prompt("woman with an umbrella on a wide square, full body, rain, photo", 1216, 832)
    graph.note(
        """
The first pass draws the picture. In a wide shot a face has too few pixels to become a likeness:
the second pass paints it anew in a crop of its own, and pastes it back.
""",
        height=120,
    )
    graph.column("First pass")
    first_model = kit.apply_adapter(kit.checkpoint["MODEL"], identity)
    sides = {side: getattr(kit, side)["CONDITIONING"] for side in ("positive", "negative")}
    first = kit.sample(first_model["MODEL"], sides, title="First pass")
    drawn = graph.add("VAEDecode", samples=first["LATENT"], vae=kit.checkpoint["VAE"])
    graph.column("Find and crop")
    graph.note(
        """
**index** -1 takes every face. A picture without one goes through as it is. Somebody else in the
picture? Choose the face with **order** and **index**.
""",
        height=110,
    )
    faces = kit.faces(drawn["IMAGE"], pick="all", on_missing="blank", thorough=True)
    crop = kit.crop(drawn["IMAGE"], faces, order="largest", index=-1)
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], crop["keypoints"])
    inpaint = kit.inpaint(applied, crop)
    graph.column("Second pass")
    painted = kit.repaint(applied, inpaint, 0.6, "Second pass")
    graph.note("**denoise** 0.5 to 0.7: less keeps the old face, more invents.", height=80)
    graph.column("Picture")
    pasted = kit.paste(drawn["IMAGE"], painted, crop)
    kit.save_image(pasted["IMAGE"])
    return graph


def group_photo() -> Graph:
    kit = Finish("instantid_group_photo", "Everybody in a group photo")
    graph = kit.graph
    sides = ("left", "right")
    kit.models()
    graph.column("Who")
    photos = [
        kit.photo(f"Person on the {side}", image)
        for side, image in zip(sides, (WOMAN, OFFICER), strict=True)
    ]
    graph.column("Identities")
    identities = [kit.encode(photo["IMAGE"]) for photo in photos]
    graph.column("Group photo")
    graph.note(CONSENT, height=170)
    picture = kit.photo("Group photo with two faces", TWO)
    faces = kit.faces(picture["IMAGE"], pick="all")
    graph.column("Crops")
    crops = [kit.crop(picture["IMAGE"], faces, index=index) for index in (0, 1)]
    graph.column("Prompt")
    kit.prompt("portrait photo, natural light, detailed skin", latent=False)
    graph.note(
        """
Everybody gets a crop, and is painted by themselves at full size. A third person: copy one row,
set **index** to 2, and chain one more *Paste Face*.
""",
        height=120,
    )
    graph.column("InstantID")
    applied = [
        kit.apply(identity["identity"], crop["keypoints"], **STRONG)
        for identity, crop in zip(identities, crops, strict=True)
    ]
    graph.column("Inpaint")
    inpaints = [kit.inpaint(*pair) for pair in zip(applied, crops, strict=True)]
    graph.column("Paint")
    painted = [
        kit.repaint(apply, inpaint, 0.85, f"Person on the {side}")
        for apply, inpaint, side in zip(applied, inpaints, sides, strict=True)
    ]
    graph.column("Paste")
    pasted = picture
    for new, crop in zip(painted, crops, strict=True):
        pasted = kit.paste(pasted["IMAGE"], new, crop)
    graph.column("Picture")
    kit.save_image(pasted["IMAGE"])
    return graph


def most_alike() -> Graph:
    kit = Finish("instantid_most_alike", "Keep the most alike of eight")
    graph = kit.graph
    kit.models()
    graph.column("Face")
    photo = kit.photo()
    identity = kit.encode(photo["IMAGE"])
    keypoints = kit.keypoints(photo["IMAGE"])
    graph.column("Prompt")
    kit.prompt(PORTRAIT, batch_size=8)
    graph.column("InstantID")
    applied = kit.apply(identity["identity"], keypoints["keypoints"])
    graph.note(
        """
Eight pictures are made at once (**batch_size**), and the one that looks most like the photo is
kept; **count** keeps more. Little memory? Lower **batch_size**.

The recogniser that InstantID was trained on flatters: it ranks well, but its numbers are high.
""",
        height=190,
    )
    graph.column("Eight pictures")
    sampled = kit.sample(applied["MODEL"], applied)
    drawn = graph.add("VAEDecode", samples=sampled["LATENT"], vae=kit.checkpoint["VAE"])
    graph.column("Likeness")
    analyzer = kit.analyzer["face_analyzer"]
    scored = {"face_analyzer": analyzer, "images": drawn["IMAGE"], "reference": photo["IMAGE"]}
    graph.add("IID_Likeness", **scored)
    kept = graph.add("IID_KeepMostAlike", **scored, count=1)
    graph.column("Picture")
    kit.save_image(kept["images"])
    return graph

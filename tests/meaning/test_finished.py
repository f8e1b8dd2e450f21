"""Drawn people in finished pictures: the exchanged face is the new person's, the rest stays."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from faithful_instantid.devtools.drawn import judging, measures, world
from faithful_instantid.devtools.drawn.measures import PEOPLE, Everybody
from faithful_instantid.devtools.drawn.studio import (
    CFG,
    SAMPLER,
    SCHEDULER,
    STEPS,
    Order,
    Studio,
    bytes_of,
    image_of,
)
from faithful_instantid.nodes.crops import CropFace, PasteFace
from faithful_instantid.nodes.keypoints import FaceKeypoints

import nodes as stock

CONTEXT = 1.9  # the drawn world was trained on faces of about half a picture's height
HEAD = {"shape": "ellipse", "padding": 0.1, "feather": 0.15}
WIDTH, HEIGHT, SIDE = 320, 256, 180


def wide_picture(identity: world.Identity, number: int) -> world.Picture:
    """Somebody's portrait as a part of a larger picture, off its middle, tilted as it comes."""
    scene, pose = measures.one_person(number)
    portrait = world.draw([(identity, pose)], scene)
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    picture[:] = world.COLOURS[scene.background]
    left, top = 30 + 5 * number, HEIGHT - SIDE
    enlarged = cv2.resize(portrait, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    picture[top:, left : left + SIDE] = enlarged
    return picture


def swapped(studio: Studio, who: Everybody, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A picture of somebody else, and the same with the face of person `number`."""
    other = who.sitters[(number + 7) % PEOPLE].identity
    scene, _ = measures.one_person(number)
    picture = image_of(wide_picture(other, number))
    points, _ = FaceKeypoints.execute(studio.analyzer, picture, "largest", 0, "error", 0.3)
    crop, mask, on_crop, record = CropFace.execute(
        picture, points, "largest", 0, CONTEXT, world.SIZE, 1.0, "8", True, **HEAD
    ).result
    order = Order(scene, who.identities[number], control={"keypoints": on_crop})
    with torch.inference_mode():
        model, positive, negative = studio.conditions(order)
        positive, negative, latent = stock.InpaintModelConditioning().encode(
            positive, negative, crop, studio.vae, mask, True
        )
        done = stock.KSampler().sample(
            *(model, 300 + number, STEPS, CFG, SAMPLER, SCHEDULER),
            *(positive, negative, latent),
        )[0]
        painted = stock.VAEDecode().decode(studio.vae, done)[0]
    pasted = PasteFace.execute(picture, painted, record, **HEAD, colour_match=0.0)[0]
    return picture, pasted


def test_the_swapped_face_is_the_new_persons_and_the_rest_of_the_picture_stays(
    studio: Studio, who: Everybody
) -> None:
    nearer, right = 0, 0
    numbers = range(6)
    for number in numbers:
        before, after = swapped(studio, who, number)
        old = (number + 7) % PEOPLE
        faces = studio.faces(bytes_of(after)[0])
        assert len(faces) == 1
        likes = [judging.likeness(faces[0][1], who.references[n]) for n in (number, old)]
        nearer += likes[0] > likes[1]
        right += judging.nearest(faces[0][1], who.references) == number
        same = (before == after).all(dim=-1)[0]
        assert same.float().mean() > 0.5 and bool(same[:40].all())
    assert nearer == len(numbers)
    assert right >= len(numbers) - 2

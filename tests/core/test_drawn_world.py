"""The drawn world says the truth about its pictures, and its weights survive 8 bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from faithful_instantid.devtools.drawn import judging, packed, world

POSE = world.Pose(60.0, 55.0, 70.0, tilt=14.0, turn=0.6)
PLAIN = world.Identity(
    skin=(200.0, 150.0, 120.0),
    hair=(30.0, 30.0, 200.0),
    style="short",
    eyes=1,
    glasses=False,
    beard=False,
    aspect=0.8,
)
SCENE = world.Scene("yellow", "purple")


def colour_at(picture: world.Picture, point: np.ndarray) -> np.ndarray:
    x, y = np.round(point).astype(int)
    return picture[y, x].astype(float)


def test_keypoints_lie_on_the_eyes_and_the_mouth() -> None:
    picture = world.draw([(PLAIN, POSE)], SCENE)
    left, right, _, mouth_left, mouth_right = POSE.kps
    for eye in (left, right):
        assert np.abs(colour_at(picture, eye) - world.EYES[1]).max() < 40
    for corner in (mouth_left, mouth_right):
        inward = corner + 0.15 * (POSE.kps[3:].mean(0) - corner)
        assert colour_at(picture, inward)[0] > colour_at(picture, inward)[1] + 40


def test_a_mirrored_pose_is_the_pose_of_the_mirrored_picture() -> None:
    expected = POSE.kps[[1, 0, 2, 4, 3]].copy()
    expected[:, 0] = world.SIZE - 1 - expected[:, 0]
    np.testing.assert_allclose(POSE.mirrored().kps, expected, atol=1e-3)
    picture = world.draw([(PLAIN, POSE)], SCENE).astype(float)
    mirrored = world.draw([(PLAIN, POSE.mirrored())], SCENE).astype(float)
    assert np.abs(picture[:, ::-1] - mirrored).mean() < 2


def test_a_picture_has_the_colours_its_prompt_names() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        scene, poses = world.draw_scene(random), (world.draw_pose(random),)
        picture = world.draw([(world.draw_identity(random), poses[0])], scene)
        assert judging.background(picture) == scene.background
        assert judging.clothes(picture, poses) == scene.clothes


def test_two_people_share_the_picture_without_a_gap() -> None:
    poses = world.draw_two_poses(np.random.default_rng(4))
    masks = world.halves(poses)
    assert (masks.sum(0) == 1).all()
    for mask, pose in zip(masks, poses, strict=True):
        assert all(mask[int(y), int(x)] == 1 for x, y in pose.kps)


def test_weights_survive_8_bit_to_half_a_step_of_their_row() -> None:
    random = torch.Generator().manual_seed(5)
    weights = {
        "a/matrix": torch.randn(7, 3, 3, 3, generator=random)
        * torch.logspace(-3, 2, 7)[:, None, None, None],
        "a/bias": torch.randn(7, generator=random),
        "b/zero": torch.zeros(4, 5),
    }
    back = packed.unpack(packed.pack(weights))
    assert back.keys() == weights.keys()
    steps = weights["a/matrix"].flatten(1).abs().amax(1) / 127
    error = (back["a/matrix"] - weights["a/matrix"]).flatten(1).abs().amax(1)
    assert (error <= 0.51 * steps + 1e-6).all()
    torch.testing.assert_close(back["a/bias"], weights["a/bias"], atol=1e-3, rtol=1e-3)
    assert not back["b/zero"].any()


@pytest.mark.parametrize("scene", [world.Scene("red", "blue")])
def test_prompts_name_the_number_of_people(scene: world.Scene) -> None:
    assert scene.prompt(1) == "portrait of one person, red background, blue clothes"
    assert scene.prompt(2).startswith("portrait of two people, red background")

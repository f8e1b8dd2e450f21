"""The basic workflow runs on a real server with the stock nodes around it."""

from __future__ import annotations

import numpy as np
from faithful_instantid.devtools.comfy_server import Server

from .conftest import SIZE, node_id, pictures, workflow


def test_the_basic_workflow_gives_a_picture_of_the_asked_size(server: Server) -> None:
    prompt = workflow(EmptyLatentImage={"width": SIZE + 64, "height": SIZE})
    (picture,) = pictures(server, server.run(prompt), prompt)
    assert picture.size == (SIZE + 64, SIZE)


def test_a_new_seed_alone_finds_and_encodes_no_face_again(server: Server) -> None:
    prompt = workflow(KSampler={"seed": 7})
    server.run(prompt)
    again = workflow(KSampler={"seed": 8})
    ran = server.run(again).ran
    assert node_id(again, "KSampler") in ran
    assert not {node_id(again, "IID_EncodeFace"), node_id(again, "IID_Apply")} & set(ran)


def test_the_weight_changes_the_picture_and_encodes_no_face_again(server: Server) -> None:
    prompt = workflow(KSampler={"seed": 9})
    (first,) = pictures(server, server.run(prompt), prompt)
    lighter = workflow(KSampler={"seed": 9}, IID_Apply={"weight": 0.2})
    result = server.run(lighter)
    (second,) = pictures(server, result, lighter)
    assert node_id(lighter, "IID_EncodeFace") not in result.ran
    assert np.abs(np.asarray(first, float) - np.asarray(second, float)).mean() > 1


def test_without_weight_and_strength_the_picture_is_that_of_the_plain_model(
    server: Server,
) -> None:
    off = workflow(KSampler={"seed": 3}, IID_Apply={"weight": 0.0, "strength": 0.0})
    (first,) = pictures(server, server.run(off), off)
    plain = workflow(KSampler={"seed": 3})
    apply = plain[node_id(plain, "IID_Apply")]["inputs"]
    sampler = plain[node_id(plain, "KSampler")]["inputs"]
    sampler.update({name: apply[name] for name in ("model", "positive", "negative")})
    (second,) = pictures(server, server.run(plain), plain)
    assert np.array_equal(np.asarray(first), np.asarray(second))

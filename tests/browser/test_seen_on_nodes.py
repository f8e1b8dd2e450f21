"""A person sees on the node what it found, what it warns of, and its picture."""

from __future__ import annotations

import json
from typing import Any

from faithful_instantid.devtools.example_files import workflow
from faithful_instantid.devtools.frontend import Frontend

from .conftest import SCREENSHOTS

BASIC = workflow("instantid_basic")
QUICK = {"steps": 1, "width": 256, "height": 256}
# What the interface holds of a node: its text, and the types of its pictures.
SEEN = """(type) => {
    const node = window.app.graph.nodes.find((found) => found.type === type)
    const texts = (node.widgets ?? []).filter((w) => w.name.includes('$$node-text-preview'))
    const images = window.app.nodeOutputs?.[node.id]?.images ?? node.images ?? []
    const text = texts.map((w) => w.value).join('')
    return { text, types: images.map((one) => one.type) }
}"""

# Lead the photo three times into the keypoints.
THREE_FRAMES = """() => {
    const find = (type) => window.app.graph.nodes.find((node) => node.type === type)
    const repeat = window.LiteGraph.createNode('RepeatImageBatch')
    window.app.graph.add(repeat)
    repeat.widgets.find((widget) => widget.name === 'amount').value = 3
    find('LoadImage').connect(0, repeat, 0)
    const keypoints = find('IID_FaceKeypoints')
    repeat.connect(0, keypoints, keypoints.inputs.findIndex((input) => input.name === 'image'))
}"""

# What newer frontends do when a job ends: they take its texts off the nodes, then tell others.
JOB_ENDS = """async () => {
    for (const node of window.app.graph.nodes) {
        const found = node.widgets?.findIndex((w) => w.name.includes('$$node-text-preview')) ?? -1
        if (found > -1) node.widgets.splice(found, 1)
    }
    const { api } = await import('/scripts/api.js')
    api.dispatchCustomEvent('execution_success', { prompt_id: 'ended' })
    await new Promise((resolve) => setTimeout(resolve, 100))
}"""


def seen(frontend: Frontend, kind: str) -> dict[str, Any]:
    return frontend.page.evaluate(SEEN, kind)


def test_text_and_picture_stand_on_the_node_and_yesterdays_warning_goes(
    frontend: Frontend,
) -> None:
    frontend.load(json.loads(BASIC.read_text(encoding="utf-8")), "seen")
    anew = {"threshold": {"classic": 0.41, "vue": 0.42}[frontend.renderer]}  # not from the cache
    frontend.call("setWidgets", {**QUICK, **anew, "start_percent": 0.8, "end_percent": 0.2})
    frontend.run()
    frontend.call("fit")
    frontend.screenshot(SCREENSHOTS / frontend.renderer / "seen_warning.png")
    assert "it starts at 0.8, after its end at 0.2." in seen(frontend, "IID_Apply")["text"]
    assert "score" in seen(frontend, "IID_EncodeFace")["text"]
    for kind in ("IID_EncodeFace", "IID_FaceKeypoints"):
        assert seen(frontend, kind)["types"] == ["temp"]
    frontend.call("setWidgets", {"start_percent": 0.0, "end_percent": 1.0})
    frontend.run()
    text = seen(frontend, "IID_Apply")["text"]
    assert "after its end" not in text and text


def test_what_a_sampling_finds_stands_on_the_apply_node(frontend: Frontend) -> None:
    frontend.load(json.loads(BASIC.read_text(encoding="utf-8")), "sampled")
    frontend.call("setWidgets", {**QUICK, "batch_size": 2})
    frontend.page.evaluate(THREE_FRAMES)
    frontend.run()
    text = seen(frontend, "IID_Apply")["text"]
    assert "The keypoints have 3 frames, the latent batch has 2" in text, text
    frontend.call("setWidgets", {"batch_size": 3})
    frontend.run()
    text = seen(frontend, "IID_Apply")["text"]
    assert text and "latent batch" not in text


def test_words_stay_when_the_frontend_takes_them_off_and_go_with_their_workflow(
    frontend: Frontend,
) -> None:
    graph = json.loads(BASIC.read_text(encoding="utf-8"))
    frontend.load(graph, "staying")
    start = {"classic": 0.7, "vue": 0.75}[frontend.renderer]  # not from the cache
    frontend.call("setWidgets", {**QUICK, "start_percent": start, "end_percent": 0.1})
    frontend.run()
    frontend.page.evaluate(JOB_ENDS)
    assert f"it starts at {start}, after its end at 0.1." in seen(frontend, "IID_Apply")["text"]
    frontend.load(graph, "another")
    frontend.page.evaluate(JOB_ENDS)
    assert seen(frontend, "IID_Apply")["text"] == ""

"""The adapter's nodes, run as a graph runs them: again and again, with changed weights between."""

from __future__ import annotations

import gc
import random
import weakref
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import folder_paths
import numpy as np
import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.nodes import folders
from faithful_instantid.nodes.apply import ApplyAdapter
from faithful_instantid.nodes.faces import EncodeFace
from faithful_instantid.nodes.loaders import LoadAdapter

from .given_faces import GivenFaces
from .predict import SIDES, conditioning, predict
from .test_adapter_promises import frozen, with_slots

Official = dict[str, torch.Tensor]
WEIGHTS = (0.8, 0.3, -0.5, 1.2)
ENCODE = {"pick": "largest", "index": 0, "combine": "mean", "on_missing": "error"}


@pytest.fixture
def installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter_weights: dict[str, Any]
) -> str:
    """The golden adapter file in models/instantid of a ComfyUI; its name in the list."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    folders.register()
    (tmp_path / "instantid").mkdir()
    torch.save(adapter_weights, tmp_path / "instantid" / "ip-adapter.bin")
    return "ip-adapter.bin"


def small(official: Official, model: Any) -> torch.Tensor:
    """Both sides of one prediction, at the smallest size that all layers can see."""
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(11)) * 4.0
    texts = [conditioning(official, side) for side in SIDES]
    before = frozen(texts)
    out = torch.cat(list(predict(model, *texts, x, 501).values()))
    assert frozen(texts) == before, "a sampler's conditionings were changed"
    return out


def random_states() -> list[Any]:
    """The state of every global generator, in a form that can be compared."""
    numpy_state = np.random.get_state()  # noqa: NPY002  (the global one is what is watched)
    return [torch.get_rng_state().tolist(), random.getstate(), repr(numpy_state)]


def test_twenty_runs_with_changed_weights_give_what_fresh_runs_give(
    installed: str, tiny_model: Any, identity: Any, official: Official
) -> None:
    fresh = {
        weight: small(
            official, host.apply_adapter(with_slots(tiny_model, []), identity, weight=weight)
        )
        for weight in WEIGHTS
    }
    upstream = with_slots(tiny_model, [])
    before, states = frozen(upstream.model_options), random_states()
    analyzer = GivenFaces([official["in.face_embedding"]])
    loaded = LoadAdapter.execute(installed)[0]
    encoded = EncodeFace.execute(analyzer, loaded, analyzer.photos, **ENCODE)[0]
    lent = [encoded.positive.kv, encoded.negative.kv, encoded.face_embedding]
    copies = [tensor.clone() for tensor in lent]
    for run in range(20):
        weight = WEIGHTS[run % len(WEIGHTS)]
        applied = ApplyAdapter.execute(upstream, encoded, weight, 0.0, 1.0)[0]
        options = frozen(applied.model_options)
        assert torch.equal(small(official, applied), fresh[weight]), f"run {run + 1}"
        assert frozen(applied.model_options) == options
        assert frozen(upstream.model_options) == before
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(lent, copies, strict=True))
    assert random_states() == states


def test_the_negative_noise_is_seeded_optional_and_0_unless_asked_for(
    installed: str, official: Official
) -> None:
    analyzer = GivenFaces([official["in.face_embedding"]])
    loaded = LoadAdapter.execute(installed)[0]

    def encode(**noise: Any) -> Any:
        return EncodeFace.execute(analyzer, loaded, analyzer.photos, **ENCODE, **noise)[0]

    states = random_states()
    plain, noisy, again, other = (
        encode(),
        encode(negative_noise=0.35, noise_seed=5),
        encode(negative_noise=0.35, noise_seed=5),
        encode(negative_noise=0.35, noise_seed=6),
    )
    assert random_states() == states
    assert not plain.negative_embedding.any()
    assert torch.equal(noisy.negative.kv, again.negative.kv)
    assert not torch.equal(noisy.negative.kv, other.negative.kv)
    assert not torch.equal(noisy.negative.kv, plain.negative.kv)
    assert torch.equal(noisy.positive.kv, plain.positive.kv)
    defaults = {i.id: i.default for i in EncodeFace.define_schema().inputs if hasattr(i, "default")}
    assert defaults["negative_noise"] == 0.0 and defaults["noise_seed"] == 0


def test_after_encoding_no_weight_of_the_adapter_is_needed(
    installed: str, tiny_model: Any, identity: Any, official: Official
) -> None:
    loaded = LoadAdapter.execute(installed)[0]
    assert isinstance(loaded.patcher, comfy.model_patcher.ModelPatcher)
    encoded = host.encode_identity(loaded, official["in.face_embedding"])
    assert any(model is loaded.patcher for model in comfy.model_management.loaded_models())
    weights = [weakref.ref(weight) for weight in loaded.module.parameters()]
    comfy.model_management.free_memory(1e30, loaded.patcher.load_device)
    comfy.model_management.cleanup_models()
    del loaded
    gc.collect()
    assert not any(weight() is not None for weight in weights)
    found = small(official, ApplyAdapter.execute(tiny_model, encoded, 0.8, 0.0, 1.0)[0])
    assert torch.equal(found, small(official, host.apply_adapter(tiny_model, identity)))

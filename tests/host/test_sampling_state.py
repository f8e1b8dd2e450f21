"""What a sampling keeps and for how long: counted work, bounded memory, nothing after its end."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import comfy.patcher_extension
import comfy.samplers
import pytest
import torch
from faithful_instantid.instantid_core import host
from faithful_instantid.instantid_core.errors import WrongInputError
from faithful_instantid.instantid_core.fitting import place, standard_face
from faithful_instantid.instantid_core.host import adapter_terms
from faithful_instantid.instantid_core.host import conditioning as conditioning_room
from faithful_instantid.instantid_core.host import identitynet as identitynet_room
from faithful_instantid.instantid_core.host import people as people_room
from faithful_instantid.instantid_core.host.people import carry_person
from faithful_instantid.instantid_core.host.rows import CANVAS, CELLS, Canvas
from faithful_instantid.instantid_core.host.sampling import RUN
from faithful_instantid.instantid_core.keypoints import Keypoints
from faithful_instantid.instantid_core.people import People, PeopleMasks, Person
from faithful_instantid.instantid_core.regions import FaceRegion
from torch.utils._python_dispatch import TorchDispatchMode

from .comparing import relative_error
from .other_packs import SlidingWindows
from .predict import SIDES, conditioning, predict

Official = dict[str, torch.Tensor]
MakeNet = Callable[[str], Any]
HEIGHT, WIDTH = 24, 16  # latent cells
TIMESTEP = 501


def latents(frames: int = 1, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.randn(frames, 4, height, width, generator=torch.Generator().manual_seed(5)) * 5


def texts(official: Official) -> list[list[Any]]:
    return [conditioning(official, side) for side in SIDES]


def face_at(x: float, y: float = 0.5, frames: int = 1) -> Keypoints:
    face = place(standard_face(), 8 * WIDTH, 8 * HEIGHT, x, y, 0.5)
    return Keypoints(8 * WIDTH, 8 * HEIGHT, face.frames * frames)


def walking(frames: int) -> Keypoints:
    steps = [face_at(0.2 + 0.6 * i / frames).frames[0] for i in range(frames)]
    return Keypoints(8 * WIDTH, 8 * HEIGHT, tuple(steps))


def sample(model: Any, conds: list[Any], x: torch.Tensor, steps: int = 2) -> torch.Tensor:
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(*conds)
    guider.set_cfg(3.0)
    sigmas = torch.cat([torch.linspace(9.0, 1.0, steps), torch.zeros(1)])
    with torch.inference_mode():
        return guider.sample(x, torch.zeros_like(x), comfy.samplers.sampler_object("euler"), sigmas)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Every hint that IdentityNet encodes."""
    seen: list[torch.Tensor] = []
    encode = identitynet_room.encode_hint

    def look(model: Any, hint: torch.Tensor) -> torch.Tensor:
        seen.append(hint)
        return encode(model, hint)

    monkeypatch.setattr(identitynet_room, "encode_hint", look)
    return seen


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The frames of every rendering of people's masks and of face regions."""
    seen: list[tuple[int, ...]] = []
    for kind in (PeopleMasks, FaceRegion):
        render = kind.render

        def look(
            self: Any, width: int, height: int, frames: Any = None, *, render: Any = render
        ) -> torch.Tensor:
            seen.append(tuple(range(self.frame_count) if frames is None else frames))
            return render(self, width, height, frames)

        monkeypatch.setattr(kind, "render", look)
    return seen


class TestWorkIsDoneOnce:
    def test_an_area_beside_a_whole_prompt_makes_each_thing_once_for_either(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        second_identity: Any,
        encoded: list[torch.Tensor],
        rendered: list[tuple[int, ...]],
    ) -> None:
        people = People((Person(identity, face_at(0.25)), Person(second_identity, face_at(0.75))))
        model = host.apply_adapter(tiny_model, people)
        net = make_controlnet("identitynet")
        positive, negative = host.apply_identitynet(*texts(official), net, people)
        text, options = positive[0]
        area = [text, {**options, "area": (12, 8, 8, 4), "strength": 1.0}]
        sample(model, [[*positive, area], negative], latents(), steps=8)
        assert len(encoded) == 2
        # For the whole and for the area, each: the adapter's, IdentityNet's region, its people.
        assert len(rendered) == 3 * 2

    def test_a_warning_comes_once_in_each_sampling(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        net = make_controlnet("identitynet")
        conds = host.apply_identitynet(*texts(official), net, identity, face_at(0.5))
        for count in (1, 2):
            sample(tiny_model, list(conds), latents(), steps=3)
            small = [m for m in caplog.messages if "drawn for IdentityNet is only" in m]
            assert len(small) == count

    @pytest.mark.parametrize(
        ("count", "told"), [(1, ""), (4, "the last 1 are not used"), (2, "sta")]
    )
    def test_keypoints_of_another_number_of_frames_than_the_latents_are_told_once(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        caplog: pytest.LogCaptureFixture,
        count: int,
        told: str,
    ) -> None:
        net = make_controlnet("identitynet")
        conds = host.apply_identitynet(*texts(official), net, identity, walking(count))
        three = latents().expand(3, -1, -1, -1).clone()
        sample(tiny_model, list(conds), three, steps=2)
        said = [m for m in caplog.messages if m.startswith(f"The keypoints have {count} frames, ")]
        assert len(said) == bool(told)
        assert all("the latent batch has 3: " in m and told in m for m in said)


class Listener:
    """Stands at a node: keeps what samplings find."""

    def __init__(self) -> None:
        self.samplings = 0
        self.texts: list[str] = []

    def begin_sampling(self) -> None:
        self.samplings += 1

    def add(self, text: str) -> None:
        self.texts.append(text)


class TestWhereWordsGo:
    @pytest.mark.parametrize("count", [1, 2])
    def test_what_a_sampling_finds_is_told_at_the_node_that_applied_it(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        second_identity: Any,
        monkeypatch: pytest.MonkeyPatch,
        count: int,
    ) -> None:
        people = People(
            (Person(identity, face_at(0.3)), Person(second_identity, face_at(0.7)))[:count]
        )
        nodes = {"adapter": Listener(), "IdentityNet": Listener()}
        monkeypatch.setattr(adapter_terms, "current_node", lambda: nodes["adapter"])
        monkeypatch.setattr(conditioning_room, "current_node", lambda: nodes["IdentityNet"])
        model = host.apply_adapter(tiny_model, people)
        conds = host.apply_identitynet(*texts(official), make_controlnet("identitynet"), people)
        sample(model, list(conds), latents())
        small = [text for text in nodes["IdentityNet"].texts if "pixels large" in text]
        assert len(small) == 1 and nodes["adapter"].texts == []
        assert all(node.samplings == 1 for node in nodes.values())
        strange = tiny_model.clone()
        kind = comfy.patcher_extension.WrappersMP.APPLY_MODEL

        def cut(executor: Any, *args: Any, **kwargs: Any) -> Any:
            """As a sampler that cuts tiles and does not say where they lie."""
            kwargs = {key: value for key, value in kwargs.items() if key != CELLS}
            options = {**args[5], CANVAS: Canvas((HEIGHT, WIDTH), is_whole=False)}
            return executor(*args[:5], options, *args[6:], **kwargs)

        options = strange.model_options["transformer_options"]
        comfy.patcher_extension.add_wrapper_with_key(kind, "cut", cut, options)
        sample(host.apply_adapter(strange, people), texts(official), latents())
        (text,) = set(nodes["adapter"].texts)
        assert "left out" in text


class TestVideos:
    FRAMES = 24
    WINDOW = 4

    def windows(self) -> list[list[int]]:
        return [list(range(i, i + self.WINDOW)) for i in range(0, self.FRAMES, self.WINDOW)]

    def test_only_the_frames_of_a_window_are_made_and_memory_is_bounded_by_it(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        encoded: list[torch.Tensor],
        rendered: list[tuple[int, ...]],
    ) -> None:
        keypoints = walking(self.FRAMES)
        model = host.apply_adapter(tiny_model, identity, mask=FaceRegion(keypoints))
        net = make_controlnet("identitynet")
        conds = host.apply_identitynet(
            *texts(official), net, identity, keypoints, mask=FaceRegion(keypoints)
        )
        windowed = SlidingWindows(self.windows()).on(model)
        predict(windowed, *conds, latents(self.FRAMES), TIMESTEP)
        assert max(len(hint) for hint in encoded) == self.WINDOW
        assert {frame for frames in rendered for frame in frames} == set(range(self.FRAMES))
        assert max(map(len, rendered)) <= max(self.WINDOW, 8)
        assert len(rendered) == 2 * len(self.windows())

    def test_a_call_makes_no_index_tensors_beyond_its_first(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        """What a call needs of the host is copied at most once, and nothing in a layer."""
        keypoints = walking(3)
        model = host.apply_adapter(tiny_model, identity, mask=FaceRegion(keypoints))
        net = make_controlnet("identitynet")
        conds = host.apply_identitynet(
            *texts(official), net, identity, keypoints, mask=FaceRegion(keypoints)
        )
        copies = Copies()
        watched = model.clone()
        kind = comfy.patcher_extension.WrappersMP.CALC_COND_BATCH
        options = watched.model_options["transformer_options"]
        comfy.patcher_extension.add_wrapper_with_key(kind, "copies", copies.call, options)
        bare = tiny_model.clone()
        plain = Copies()
        options = bare.model_options["transformer_options"]
        comfy.patcher_extension.add_wrapper_with_key(kind, "copies", plain.call, options)
        sample(watched, list(conds), latents(3), steps=3)
        sample(bare, texts(official), latents(3), steps=3)
        first, *later = (a - b for a, b in zip(copies.calls, plain.calls, strict=True))
        # At the first call: the rows' sides, masks (one copy for each half), tokens, hint.
        assert first <= 8
        assert later == [0, 0]


class Copies(TorchDispatchMode):
    """Counts tensors made of Python numbers: on a GPU each is a copy from the host."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[-1] += func.overloadpacket.__name__ in ("lift_fresh", "scalar_tensor")
        return func(*args, **(kwargs or {}))

    def call(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(0)
        with self:
            return executor(*args, **kwargs)


class TestTheEndOfASampling:
    @pytest.mark.parametrize("failure", ["cancel", "error"])
    def test_what_was_held_is_dropped_also_when_it_is_cancelled_or_fails(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        failure: str,
    ) -> None:
        region = FaceRegion(face_at(0.5))
        model = host.apply_adapter(tiny_model, identity, mask=region)
        net = make_controlnet("identitynet")
        conds = host.apply_identitynet(*texts(official), net, identity, face_at(0.5), mask=region)
        held: list[weakref.ref[Any]] = []
        kinds = {
            "cancel": comfy.model_management.InterruptProcessingException,
            "error": RuntimeError,
        }

        def fail(executor: Any, *args: Any, **kwargs: Any) -> Any:
            executor(*args, **kwargs)
            (resident,) = args[5][RUN]._residents.values()
            held.extend(weakref.ref(table) for table in resident.slots[0])
            raise kinds[failure]()

        broken = model.clone()
        kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
        options = broken.model_options["transformer_options"]
        comfy.patcher_extension.add_wrapper_with_key(kind, "fails", fail, options)
        with pytest.raises(kinds[failure]):
            sample(broken, list(conds), latents())
        assert len(held) == 70
        gc.collect()
        assert all(reference() is None for reference in held)
        attached = conds[0][0][1]["control"]
        assert attached._kept is None and attached.cond_hint is None
        again = sample(model, list(conds), latents())
        assert torch.equal(again, sample(model, list(conds), latents()))

    def test_samplings_in_a_row_give_what_fresh_objects_give(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        """Other sizes, batches and frames on one object, also without a clean-up in between."""
        keypoints, net = walking(2), make_controlnet("identitynet")
        region = FaceRegion(keypoints)

        def made() -> tuple[Any, list[Any]]:
            conds = host.apply_identitynet(*texts(official), net, identity, keypoints, mask=region)
            return host.apply_adapter(tiny_model, identity, mask=region), list(conds)

        model, conds = made()
        for x in (latents(2), latents(1, 16, 24), latents(3), latents(2, 16, 24), latents(2)):
            fresh_model, fresh = made()
            found = predict(model, *conds, x, TIMESTEP)
            wanted = predict(fresh_model, *fresh, x, TIMESTEP)
            for side in SIDES:
                assert torch.equal(found[side], wanted[side])


class TestCarriedPeople:
    """Set Person of Conditioning."""

    def masked(self, conds: list[Any], mask: torch.Tensor) -> list[Any]:
        return [
            [text, {**extra, "mask": mask, "set_area_to_bounds": False, "mask_strength": 1.0}]
            for text, extra in conds
        ]

    def test_they_work_in_all_of_their_part_whatever_region_the_model_has(
        self, official: Official, tiny_model: Any, identity: Any, second_identity: Any
    ) -> None:
        """Under Apply's default region, the box of one face, they got nothing outside of it."""
        positive, negative = texts(official)
        region = FaceRegion(face_at(0.2, 0.2))
        model = host.apply_adapter(tiny_model, identity, mask=region)
        carried = carry_person(positive, second_identity)
        x = latents()
        found = predict(model, carried, negative, x, TIMESTEP)
        alone = predict(
            host.apply_adapter(tiny_model, second_identity), positive, negative, x, TIMESTEP
        )
        assert relative_error(found["positive"], alone["positive"]) < 1e-6

    @pytest.mark.parametrize(("weight", "wanted"), [(-1.0, 0.8), (0.8, 0.8), (0.3, 0.3)])
    def test_their_weight_is_their_own_or_the_first_persons(
        self,
        official: Official,
        tiny_model: Any,
        identity: Any,
        second_identity: Any,
        weight: float,
        wanted: float,
    ) -> None:
        positive, negative = texts(official)
        model = host.apply_adapter(tiny_model, identity, weight=0.8)
        x = latents()
        found = predict(
            model, carry_person(positive, second_identity, weight), negative, x, TIMESTEP
        )
        alone = host.apply_adapter(tiny_model, second_identity, weight=wanted)
        plain = predict(alone, positive, negative, x, TIMESTEP)
        assert relative_error(found["positive"], plain["positive"]) < 1e-6

    def test_other_terms_people_stay_out_of_their_part(
        self, official: Official, tiny_model: Any, identity: Any, second_identity: Any
    ) -> None:
        positive, negative = texts(official)
        both = host.apply_adapter(host.apply_adapter(tiny_model, identity), identity, weight=0.5)
        carried = carry_person(positive, second_identity)
        x = latents()
        alone = host.apply_adapter(tiny_model, second_identity)
        found = predict(both, carried, negative, x, TIMESTEP)
        wanted = predict(alone, positive, negative, x, TIMESTEP)
        assert relative_error(found["positive"], wanted["positive"]) < 1e-6

    def test_identitynet_takes_their_conditioning_as_positive(
        self,
        official: Official,
        tiny_model: Any,
        make_controlnet: MakeNet,
        identity: Any,
        second_identity: Any,
    ) -> None:
        net = make_controlnet("identitynet")
        positive, negative = host.apply_identitynet(*texts(official), net, identity, face_at(0.5))
        model = host.apply_adapter(tiny_model, second_identity)
        carried = carry_person(carry_person(positive, identity), second_identity)
        x = latents()
        found = predict(model, carried, negative, x, TIMESTEP)
        wanted = predict(model, positive, negative, x, TIMESTEP)
        assert relative_error(found["positive"], wanted["positive"]) < 1e-6

    def test_without_the_adapter_a_warning_says_that_nothing_happens(
        self,
        official: Official,
        tiny_model: Any,
        identity: Any,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        node = Listener()
        monkeypatch.setattr(people_room, "current_node", lambda: node)
        positive, negative = texts(official)
        carried = carry_person(positive, identity)
        sample(host.apply_adapter(tiny_model, identity), [carried, negative], latents())
        assert not [m for m in caplog.messages if "does nothing" in m]
        found = sample(tiny_model, [carried, negative], latents())
        assert len([m for m in caplog.messages if "does nothing" in m]) == 1
        assert ["does nothing" in text for text in node.texts] == [True]
        assert torch.equal(found, sample(tiny_model, [positive, negative], latents()))

    def test_a_weight_below_zero_that_is_not_minus_one_is_refused(
        self, official: Official, identity: Any
    ) -> None:
        with pytest.raises(WrongInputError, match=r"person is -0\.5\. Wanted: 0 or more, or -1"):
            carry_person(texts(official)[0], identity, -0.5)


class TestOtherPacksNets:
    @pytest.mark.parametrize("count", [1, 2])
    def test_keyframes_of_another_packs_loader_are_told(
        self,
        official: Official,
        make_controlnet: MakeNet,
        identity: Any,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        count: int,
    ) -> None:
        net = make_controlnet("identitynet")
        frames = [SimpleNamespace(strength=1.0) for _ in range(count)]
        group = SimpleNamespace(keyframes=frames)
        monkeypatch.setattr(net, "timestep_keyframes", group, raising=False)
        host.apply_identitynet(*texts(official), net, identity, face_at(0.5))
        told = [m for m in caplog.messages if "does not read the keyframes" in m]
        assert len(told) == count - 1

    @pytest.mark.skipif(
        not hasattr(comfy.samplers.comfy.controlnet.ControlBase, "deepclone_multigpu"),
        reason="this ComfyUI has no multi-device clones",
    )
    def test_a_clone_for_another_device_is_emptied_with_its_net(
        self, official: Official, tiny_model: Any, make_controlnet: MakeNet, identity: Any
    ) -> None:
        net = make_controlnet("identitynet")
        conds = host.apply_identitynet(*texts(official), net, identity, face_at(0.5))
        attached = conds[0][0][1]["control"]
        clone = attached.deepclone_multigpu(torch.device("cpu"), autoregister=True)
        sampling = tiny_model.get_model_object("model_sampling")
        clone.pre_run(tiny_model.model, sampling.percent_to_sigma)
        x = latents()
        cond = {"y": torch.zeros(1, attached.control_model.label_emb[0][0].in_features)}
        with torch.inference_mode():
            clone.get_control(x, sampling.sigmas[TIMESTEP].repeat(1), cond, 1, {})
        assert clone._kept is not None and attached._kept is None
        attached.forget()
        assert clone._kept is None

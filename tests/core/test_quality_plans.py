"""What quality.py reads and plans, and what it says of input that cannot be right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from faithful_instantid.devtools.comfy_server import Server, free_port
from faithful_instantid.devtools.likeness_bench import people, prompts, servers, settings
from faithful_instantid.devtools.likeness_bench.errors import NotReadyError, QualityError
from faithful_instantid.devtools.likeness_bench.graphs import places_of, read_graph, set_values
from faithful_instantid.devtools.likeness_bench.making import Store, make_pictures
from faithful_instantid.devtools.likeness_bench.plan import Case, Plan, safe
from PIL import Image

API = Path(__file__).resolve().parents[2] / "example_workflows" / "api"
TEMPLATES = (  # of one person, with one prompt and one picture
    *("app", "basic", "depth", "hires", "lightning", "most_alike", "own_pose", "separate_nodes"),
    *("small_faces", "style_ipadapter", "two_scales"),
)


@pytest.fixture(scope="module")
def quality(script_module: Callable[[str], ModuleType]) -> ModuleType:
    """devtools/quality.py as a module."""
    return script_module("quality")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two people: ann with ten photos and more, bob with one; and folders that are nobody."""
    folder = tmp_path / "photos"
    for name, count in (("ann", 11), ("bob", 1), ("empty", 0), (".cache", 1)):
        (folder / name).mkdir(parents=True)
        for number in range(1, count + 1):
            colour = (number, len(name), 40)
            Image.new("RGB", (30, 20), colour).save(folder / name / f"{number}.png")
    (folder / "ann" / "notes.txt").write_text("no photo", encoding="utf-8")
    return folder


def plan_of(photos: Path, **counts: Any) -> Plan:
    everybody = people.read_people(photos)
    return Plan(
        everybody, prompts.read_prompts(count=3), settings.read_settings(count=3, **counts), 2
    )


def test_the_first_photo_in_counting_order_is_the_reference(photos: Path) -> None:
    ann, bob = people.read_people(photos)
    assert (ann.name, bob.name) == ("ann", "bob")
    assert [path.name for path in ann.photos] == [f"{n}.png" for n in range(1, 12)]
    assert (bob.reference.name, bob.held_out) == ("1.png", ())
    assert [one.name for one in people.read_people(photos, 1)] == ["ann"]


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert people.open_picture(tmp_path / "turned.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: one\nwithout colon\n", r"line 2 of .*prompts.txt is 'without colon'; wanted `name"),
        ("a: one\n# b: no\na: two\n", "has 'a' twice; each name must be its own"),
        ("# nothing\n\n", "has no prompt. Write lines as `name: text`"),
        ("a:\n", "wanted `name: text`"),
    ],
)
def test_a_prompt_file_that_cannot_be_right_gets_a_sentence(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(QualityError, match=said):
        prompts.read_prompts(path)


def test_the_own_prompts_are_twelve_and_the_settings_at_least_five() -> None:
    own = prompts.read_prompts()
    assert len(own) == 12
    assert all("person" in p.text or "astronaut" in p.text or "cook" in p.text for p in own)
    names = [setting.name for setting in settings.read_settings()]
    assert names[:3] == ["published default", "old nodes", "without InstantID"]
    assert len(names) >= 5


def test_all_own_settings_sample_alike_but_for_what_they_are_about() -> None:
    sampled = [
        {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}
        for setting in settings.read_settings()
        for node in setting.nodes.values()
        if node["class_type"] in ("KSampler", "EmptyLatentImage")
    ]
    assert len(sampled) == 12
    assert len({json.dumps(one, sort_keys=True) for one in sampled}) == 2
    texts = {
        (node["_meta"]["title"], node["inputs"]["text"])
        for setting in settings.read_settings()
        for node in setting.nodes.values()
        if node["class_type"] == "CLIPTextEncode"
    }
    assert len(texts) == 2


def test_a_case_goes_where_the_graph_takes_it_and_nowhere_else(photos: Path) -> None:
    plan = plan_of(photos, common={"width": 64, "steps": 2})
    case = plan.cases[0]
    before, after = case.setting.nodes, case.nodes()
    changed = {
        (before[key]["class_type"], name)
        for key, node in after.items()
        for name, value in node["inputs"].items()
        if value != before[key]["inputs"][name]
    }
    assert changed == {("LoadImage", "image"), ("CLIPTextEncode", "text"), ("KSampler", "seed")}
    assert after["8"]["inputs"]["text"] == case.prompt.text
    assert after["9"]["inputs"]["text"].startswith("lowres")
    assert after["10"]["inputs"] == {"width": 64, "height": 1024, "batch_size": 1}
    assert after["13"]["inputs"]["steps"] == 2


def test_all_settings_have_the_same_seeds_and_a_larger_run_begins_with_the_smaller(
    photos: Path,
) -> None:
    plan = plan_of(photos)
    cases = plan.cases
    assert len(cases) == 3 * 2 * 3 * 2
    seeds = [[case.seed for case in cases if case.setting is s] for s in plan.settings]
    assert seeds[0] == seeds[1] == seeds[2]
    assert len(set(seeds[0])) == 12
    larger = Plan(plan.people, prompts.read_prompts(), settings.read_settings(), 3)
    assert {case.key() for case in cases} <= {case.key() for case in larger.cases}
    assert len({case.place for case in larger.cases}) == len(larger.cases)


def test_the_partner_is_the_same_prompt_and_seed_without_the_person(photos: Path) -> None:
    plan = plan_of(photos)
    partner = plan.partner(plan.cases[1])
    assert partner is not None
    assert partner.setting.name == "without InstantID"
    assert (partner.seed, partner.prompt) == (plan.cases[1].seed, plan.cases[1].prompt)
    assert plan.partner(partner) is None


def test_a_picture_is_there_once_it_is_kept_and_only_for_what_it_was_made_from(
    photos: Path, tmp_path: Path
) -> None:
    plan, store = plan_of(photos), Store(tmp_path / "pictures")
    first, second, *_ = plan.cases
    store.keep(first, b"picture", 2.5)
    made = store.made(first)
    assert made is not None and (made.path.read_bytes(), made.seconds) == (b"picture", 2.5)
    assert store.missing(plan.cases) == plan.cases[1:]
    # Whatever a kill leaves behind is no picture.
    place = store.folder / second.place
    place.with_suffix(".json").write_text("{}", encoding="utf-8")
    place.with_name(f"{place.name}.unfinished").write_bytes(b"half")
    assert store.made(second) is None
    other = plan_of(photos, common={"steps": 3}).cases[0]
    with pytest.raises(QualityError, match=r"made with other values .*another folder with --outp"):
        store.made(other)


def test_another_photo_under_the_same_name_is_another_picture(photos: Path) -> None:
    case = plan_of(photos).cases[0]
    before = case.key()
    again = photos.parent / "again"
    photos.rename(again)
    Image.new("RGB", (30, 20), (200, 0, 0)).save(again / "ann" / "1.png")
    (ann, *_) = people.read_people(again)
    assert Case(case.setting, ann, case.prompt, case.number).key() != before


def test_names_of_any_writing_become_file_names_that_stay_apart() -> None:
    names = ["published default", "a/b", "a b", "a:b", "..", "\u00dcnal \u5c71\u7530", "weight 0.8"]
    made = [safe(name) for name in names]
    assert len(set(made)) == len(names)
    assert made[0] == "published_default"
    assert all(set(name).isdisjoint('/\\:*?"<>|. ') for name in made)


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_users_own_graph_and_values_are_a_setting(tmp_path: Path) -> None:
    graph = settings.read_settings(count=1)[0].nodes
    write(tmp_path / "mine.json", graph)
    values = {"Apply InstantID.weight": 0.4, "13.cfg": 3}
    listed = {"light": {"graph": "mine.json", "values": values, "curve": "mine"}}
    (light,) = settings.read_settings(write(tmp_path / "settings.json", listed), common={"cfg": 9})
    assert light.nodes["11"]["inputs"]["weight"] == 0.4
    assert light.nodes["13"]["inputs"]["cfg"] == 3  # its own value counts
    assert (light.name, light.curve, light.has_person) == ("light", "mine", True)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_can_be_a_setting_by_its_links_where_titles_say_nothing(name: str) -> None:
    graph = read_graph(API / f"instantid_{name}.json")
    found = places_of(graph, name)
    assert found.photo is not None and graph[found.photo]["class_type"] == "LoadImage"
    assert graph[found.prompt]["_meta"]["title"] == "Prompt"
    assert all(not graph[key]["class_type"].startswith("IID_") for key, _ in found.seeds)
    untitled = {key: {**node, "_meta": {}} for key, node in graph.items()}
    if sum(node["class_type"] == "LoadImage" for node in graph.values()) == 1:
        assert places_of(untitled, name) == found


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"Apply InstantID.wieght": 1}, "Apply InstantID has no value 'wieght' to set; it has: we"),
        ({"Apply InstantID.model": 1}, "has no value 'model' to set"),
        ({"Aply.weight": 1}, "'Aply.weight' names 0 nodes of the graph; .*There are: Load Check"),
    ],
)
def test_a_value_that_fits_nowhere_gets_a_sentence(values: dict[str, Any], said: str) -> None:
    graph = settings.read_settings(count=1)[0].nodes
    with pytest.raises(QualityError, match=said):
        set_values(graph, values, "--settings: mine")


def test_a_graph_without_one_prompt_or_picture_gets_a_sentence(tmp_path: Path) -> None:
    graph = settings.read_settings(count=1)[0].nodes
    two = {**graph, "99": {"class_type": "SaveImage", "inputs": {}}}
    two["15"] = {**two["15"], "_meta": {"title": "mine"}}
    with pytest.raises(QualityError, match="2, of which 0 have the title 'Save Image'"):
        places_of(two, "mine")
    with pytest.raises(QualityError, match="no graph in API form"):
        read_graph(write(tmp_path / "ui.json", {"nodes": []}))
    with pytest.raises(QualityError, match="no seed to set"):
        places_of({key: graph[key] for key in ("5", "8", "15")}, "mine")


def test_the_prompt_is_found_behind_nodes_that_change_one_conditioning() -> None:
    graph = settings.read_settings(count=1)[0].nodes
    between = {"conditioning": ["8", 0], "start": 0.0, "end": 0.8}
    graph["20"] = {"class_type": "ConditioningSetTimestepRange", "inputs": between}
    graph["11"]["inputs"]["positive"] = ["20", 0]
    assert places_of(graph, "mine").prompt == "8"
    graph["20"]["inputs"]["conditioning"] = ["3", 0]
    with pytest.raises(QualityError, match="text behind `positive`: the graph has 0"):
        places_of(graph, "mine")


def test_an_unknown_setting_is_answered_with_those_there_are() -> None:
    with pytest.raises(QualityError, match="no setting 'old' in .*'published default', 'old nod"):
        settings.read_settings(names=["old"])


class Answers:
    """What a server says of its nodes, in both forms that ComfyUI has for lists."""

    url = "http://127.0.0.1:1"

    def __init__(self, nodes: dict[str, Any]) -> None:
        self.nodes = nodes

    def get(self, path: str) -> Any:
        assert path == "/object_info"
        return self.nodes


def node(**inputs: Any) -> dict[str, Any]:
    return {"input": {"required": inputs}}


def known(checkpoints: list[str], nets: list[str]) -> dict[str, Any]:
    graphs = [setting.nodes for setting in settings.read_settings()]
    kinds = {node["class_type"] for nodes in graphs for node in nodes.values()}
    loaders = {
        "CheckpointLoaderSimple": node(ckpt_name=[checkpoints]),
        "IID_LoadInstantID": node(
            file=["COMBO", {"options": ["ip-adapter.bin"]}],
            identitynet=["COMBO", {"options": nets}],
        ),
        "InstantIDModelLoader": node(instantid_file=[["ip-adapter.bin"]]),
        "ControlNetLoader": node(control_net_name=[nets]),
    }
    return {**{kind: node() for kind in kinds}, **loaders}


def test_all_that_the_server_lacks_is_told_at_once() -> None:
    lacking = known(["a.safetensors", "b.safetensors"], [])
    del lacking["ApplyInstantID"]
    with pytest.raises(NotReadyError) as failure:
        servers.with_files(Answers(lacking), settings.read_settings(count=3), {})
    told = str(failure.value)
    assert told.startswith("3 things are missing before the first picture")
    assert "node ApplyInstantID of 'old nodes': the server does not know it" in told
    assert "--checkpoint: a.safetensors, b.safetensors" in told
    assert "identitynet: the server has none" in told


def test_the_only_file_is_taken_and_a_chosen_one_wins() -> None:
    wanted = settings.read_settings(count=3)
    chosen = {"identitynet": "other.safetensors"}
    nets = ["instantid-identitynet.safetensors", "other.safetensors"]
    made = servers.with_files(Answers(known(["mine.safetensors"], nets)), wanted, chosen)
    published, old, without = (setting.nodes for setting in made)
    for nodes in (published, old, without):
        assert nodes["2"]["inputs"]["ckpt_name"] == "mine.safetensors"
    assert published["3"]["inputs"]["identitynet"] == "other.safetensors"
    assert old["7"]["inputs"]["control_net_name"] == "other.safetensors"


def test_a_server_that_goes_away_is_told_and_what_is_there_is_kept(
    photos: Path, tmp_path: Path
) -> None:
    plan, store = plan_of(photos), Store(tmp_path / "pictures")
    store.keep(plan.cases[0], b"picture", 1.0)
    gone = Server(f"http://127.0.0.1:{free_port()}", tmp_path, None)
    with pytest.raises(QualityError, match=r"no longer answers .*run this again to go on"):
        make_pictures(gone, store, plan.cases, iter)
    assert len(store.missing(plan.cases)) == len(plan.cases) - 1


def test_a_picture_file_that_is_none_gets_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(np.arange(100, dtype=np.uint8).tobytes())
    with pytest.raises(QualityError, match=r"1.png cannot be opened as a picture .*whole one"):
        people.open_picture(path)
    with pytest.raises(QualityError, match="holds no folder with photos"):
        people.read_people(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--photos DIR is missing: a folder with a folder for each person"),
        (("--photos", "."), "wanted either --models DIR or --server URL, and one of them only"),
        (("--rehearse", "drawn", "--photos", "."), "--rehearse brings its own; leave out --photos"),
        (("--size", "100x96"), "wanted WIDTHxHEIGHT in multiples of 8, at least 64"),
        (("--rehearse", "drawn", "--people", "0"), "--people is 0; wanted 1 or more"),
        (("--photos", ".", "--models", "nowhere"), "--models: there is no folder nowhere"),
    ],
)
def test_options_that_do_not_fit_get_a_sentence(
    quality: ModuleType,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        quality.parse(list(arguments))
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_rehearsal_has_a_folder_of_its_own(quality: ModuleType) -> None:
    folders = {quality.parse(["--rehearse", kind]).output for kind in ("drawn", "standins")}
    real = quality.parse(["--photos", ".", "--server", "x", "--size", "832x1216"])
    assert len(folders | {real.output}) == 3
    assert real.size == (832, 1216)

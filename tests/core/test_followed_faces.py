"""Follow Face on made videos of which everything is known: who is where in every frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from faithful_instantid.devtools.standins import drawing
from faithful_instantid.devtools.standins.drawing import DrawnFace, draw_faces
from faithful_instantid.instantid_core.errors import NoFaceError, WrongInputError
from faithful_instantid.instantid_core.faces import FaceAnalyzer
from faithful_instantid.instantid_core.faces.cuts import CutSettings, parse_frames
from faithful_instantid.instantid_core.faces.following import Followed, TrackChoice, follow
from faithful_instantid.instantid_core.faces.tracks import ALL
from faithful_instantid.instantid_core.images import ChannelOrder, Picture

WIDTH, HEIGHT = 320, 180
GREY, GREEN, RED = (90, 110, 130), (40, 120, 40), (150, 60, 50)
Scene = Sequence[DrawnFace]


class Film:
    """Drawn frames; counts how often it was shown."""

    def __init__(self, scenes: Sequence[Scene], backgrounds: Callable[[int], tuple]) -> None:
        self.scenes, self._backgrounds, self.shown = scenes, backgrounds, 0

    def __len__(self) -> int:
        return len(self.scenes)

    def __iter__(self) -> Iterator[Picture]:
        self.shown += 1
        for n, faces in enumerate(self.scenes):
            rgb = draw_faces(faces, WIDTH, HEIGHT, self._backgrounds(n))
            yield np.ascontiguousarray(rgb[..., ::-1])


def film(scenes: Sequence[Scene], background: tuple = GREY) -> Film:
    return Film(scenes, lambda _: background)


EVERYBODY = TrackChoice(ALL)


def followed(analyzer: FaceAnalyzer, shown: Film, choice: TrackChoice = EVERYBODY) -> Followed:
    return follow(analyzer, shown, choice, CutSettings())


def persons(made: Followed, shown: Film) -> dict[int, dict[int, int]]:
    """Return, by track and frame, who is there in truth; every face must be where one is."""
    found: dict[int, dict[int, int]] = {}
    for n, (frame, truth) in enumerate(zip(made.keypoints.frames, shown.scenes, strict=True)):
        for face in frame:
            away = [float(np.abs(face.kps - one.kps).max()) for one in truth]
            nearest = int(np.argmin(away))
            assert away[nearest] < 1.5, f"frame {n}"
            assert face.track is not None
            found.setdefault(face.track, {})[n] = truth[nearest].person
    return found


def crossing(n: int) -> Scene:
    """Two who pass each other, the second in front."""
    away, towards = 50 + 11 * n, 270 - 11 * n
    return [DrawnFace(away, 84, 70, person=1), DrawnFace(towards, 92, 74, person=4)]


def test_two_who_cross_keep_their_tracks(analyzer: FaceAnalyzer) -> None:
    shown = film([crossing(n) for n in range(21)])
    tracks = persons(followed(analyzer, shown), shown)
    assert [set(track.values()) for _, track in sorted(tracks.items())] == [{1}, {4}]
    assert list(tracks[1]) == list(range(21))  # in front: never hidden
    assert {0, 5, 15, 20} <= set(tracks[0]) and len(tracks[0]) >= 14


def leaving(n: int) -> Scene:
    """One stays; one walks out at the right and comes back from the left."""
    stays = DrawnFace(110, 70, 64, angle=8, person=2)
    if n < 9:
        return [stays, DrawnFace(240 + 12 * n, 110, 60, person=6)]
    if n < 30:
        return [stays]
    return [stays, DrawnFace(20 + 3 * (n - 30), 140, 60, person=6)]


def test_one_who_leaves_and_returns_is_the_same_person(analyzer: FaceAnalyzer) -> None:
    shown = film([leaving(n) for n in range(40)])
    tracks = persons(followed(analyzer, shown), shown)
    assert [set(track.values()) for _, track in sorted(tracks.items())] == [{2}, {6}]
    assert list(tracks[0]) == list(range(40))
    assert not set(tracks[1]) & set(range(10, 30)) and {0, 4, 39} <= set(tracks[1])


def cut_scene(n: int) -> Scene:
    """Three shots of two persons, who change places in the second and are alone in the third."""
    left, right = DrawnFace(90 + n, 80, 70, person=3), DrawnFace(230, 96, 66, person=5)
    if n < 12:
        return [left, right]
    if n < 20:
        return [DrawnFace(90, 82, 68, person=5), DrawnFace(232, 94, 72, angle=-6, person=3)]
    return [DrawnFace(228 - n, 90, 80, person=5)]


def cut_film() -> Film:
    colours = {0: GREY, 12: GREEN, 20: RED}
    return Film(
        [cut_scene(n) for n in range(30)],
        lambda n: colours[max(start for start in colours if start <= n)],
    )


def test_cuts_are_found_and_persons_go_on_behind_them(analyzer: FaceAnalyzer) -> None:
    shown = cut_film()
    made = followed(analyzer, shown)
    assert made.cuts == made.keypoints.cuts == (12, 20)
    tracks = persons(made, shown)
    assert [set(track.values()) for _, track in sorted(tracks.items())] == [{3}, {5}]
    assert list(tracks[0]) == list(range(20)) and list(tracks[1]) == list(range(30))
    assert "Cuts found: 12 (" in made.report and "the largest change elsewhere is" in made.report


def test_cuts_are_taken_from_a_list_or_left_alone(analyzer: FaceAnalyzer) -> None:
    shown = cut_film()
    for settings, cuts in (
        (CutSettings("list", listed=(0, 5, 20)), (5, 20)),
        (CutSettings("none"), ()),
        (CutSettings("find", threshold=0.99), ()),
    ):
        made = follow(analyzer, shown, EVERYBODY, settings)
        assert made.keypoints.cuts == cuts
    with pytest.raises(WrongInputError, match="A cut is listed at frame 30, but the video has 30"):
        follow(analyzer, shown, EVERYBODY, CutSettings("list", listed=(4, 30)))


def hidden(n: int) -> Scene:
    return [] if n in (4, 5, 11) else [DrawnFace(150 + n, 90, 80, person=7)]


def test_missing_frames_keep_their_place(analyzer: FaceAnalyzer) -> None:
    shown = film([hidden(n) for n in range(16)])
    made = followed(analyzer, shown)
    assert [n for n, frame in enumerate(made.keypoints.frames) if not frame] == [4, 5, 11]
    assert set(persons(made, shown)) == {0}
    assert (made.keypoints.width, made.keypoints.height) == (WIDTH, HEIGHT)
    assert "frames 0-3, 6-10, 12-15" in made.report
    boxes = [face.box for frame in made.keypoints.frames for face in frame]
    sides = [((box[2] - box[0]) * (box[3] - box[1])) ** 0.5 for box in boxes]
    (told,) = re.findall(r"about (\d+) pixels large", made.report)
    assert min(sides) - 1 < int(told) < max(sides) + 1


def test_a_report_names_24_persons_and_how_many_more_there_are(analyzer: FaceAnalyzer) -> None:
    # Nobody is as like as 1 to themselves elsewhere: with a cut at every frame each face is new.
    for count, last in ((24, "person 23"), (25, "and 1 more"), (27, "and 3 more")):
        scenes = [[DrawnFace(60 + 7 * n, 90, 60 + n, person=n % 8)] for n in range(count)]
        cuts = CutSettings("list", listed=tuple(range(1, count)))
        made = follow(analyzer, film(scenes), EVERYBODY, cuts, alike=1.0)
        *_, told = made.report.splitlines()
        assert last in told, made.report


def test_of_somebody_who_comes_and_goes_the_first_rows_of_frames_are_told(
    analyzer: FaceAnalyzer,
) -> None:
    def seen(times: int) -> str:
        face = [DrawnFace(150, 90, 80, person=7)]
        return followed(
            analyzer, film([face if n % 2 == 0 else [] for n in range(2 * times)])
        ).report

    rows = ", ".join(str(2 * n) for n in range(24))
    assert f"frames {rows}, about" in seen(24)
    assert f"frames {rows} and 3 more, about" in seen(27)


def test_somebody_else_at_the_same_place_is_another_person(analyzer: FaceAnalyzer) -> None:
    shown = film([[DrawnFace(150, 90, 80, person=1 if n < 6 else 5)] for n in range(12)])
    tracks = persons(followed(analyzer, shown), shown)
    assert [sorted(track) for _, track in sorted(tracks.items())] == [
        list(range(6)),
        list(range(6, 12)),
    ]


def chosen_scene(n: int) -> Scene:
    """0: from the first frame on, small. 1: later, large, for a short time. 2: latest."""
    faces = [DrawnFace(60, 60, 50, person=1)] if n < 10 else []
    faces += [DrawnFace(150, 90, 90, person=3)] if 3 <= n < 6 else []
    faces += [DrawnFace(270, 120, 60, person=6)] if n >= 4 else []
    return faces


def test_a_person_is_chosen_by_number_size_length_and_likeness(analyzer: FaceAnalyzer) -> None:
    shown = film([chosen_scene(n) for n in range(20)])
    first = next(iter(film([[DrawnFace(80, 80, 70, person=3)]])))
    (face,) = analyzer.find(first).faces
    like = analyzer.embed(first, face)
    for choice, person in (
        (TrackChoice("number", 0), 1),
        (TrackChoice("number", 2), 6),
        (TrackChoice("longest"), 6),
        (TrackChoice("longest", 2), 3),
        (TrackChoice("largest"), 3),
        (TrackChoice("largest", 1), 6),
        (TrackChoice("most_like", like=like), 3),
    ):
        (track,) = persons(followed(analyzer, shown, choice), shown).values()
        assert set(track.values()) == {person}, choice


@pytest.mark.parametrize("order", ChannelOrder)
def test_likeness_is_told_in_the_order_of_channels_of_whom_it_is_to(
    analyzer: FaceAnalyzer, order: ChannelOrder
) -> None:
    shown = film([[DrawnFace(80, 80, 70, person=3)]] * 2)
    frame = next(iter(shown))
    like = analyzer.embed(frame, analyzer.find(frame).faces[0], order)
    told = followed(analyzer, shown, TrackChoice("most_like", like=like, order=order)).report
    assert "likeness 1.00" in told
    other = next(one for one in ChannelOrder if one != order)
    mixed = followed(analyzer, shown, TrackChoice("most_like", like=like, order=other)).report
    assert "likeness 1.00" not in mixed


def test_another_choice_looks_at_nothing_anew(analyzer: FaceAnalyzer) -> None:
    shown = film([chosen_scene(n) for n in range(20)])
    followed(analyzer, shown, TrackChoice("longest"))
    calls = analyzer.calls
    assert calls > 0
    for choice in (TrackChoice("number", 1), TrackChoice("largest"), EVERYBODY):
        followed(analyzer, shown, choice)
    assert analyzer.calls == calls


def test_as_many_frames_as_a_long_video_has_are_remembered(analyzer: FaceAnalyzer) -> None:
    kept = (analyzer._passes, analyzer._embeddings)
    assert all(memory._capacity >= 2 * 3000 for memory in kept)


def test_what_cannot_be_chosen_is_said(analyzer: FaceAnalyzer) -> None:
    shown = film([chosen_scene(n) for n in range(5)])
    with pytest.raises(WrongInputError, match="person number 3, counted from 0, but the video"):
        followed(analyzer, shown, TrackChoice("longest", 3))
    with pytest.raises(WrongInputError, match="track is most_like, but there is no identity"):
        followed(analyzer, shown, TrackChoice("most_like"))
    with pytest.raises(WrongInputError, match="track is 'best'; wanted one of"):
        followed(analyzer, shown, TrackChoice("best"))
    empty = film([[], []])
    with pytest.raises(NoFaceError, match="No face was found in 2 frames of 320x180 pixels"):
        followed(analyzer, empty)
    for text in ("4, -1", "4.5", "a"):
        with pytest.raises(WrongInputError, match="Wanted: whole numbers from 0 on"):
            parse_frames(text)
    assert parse_frames(" 48;12, 48 ") == (12, 48)
    with pytest.raises(WrongInputError, match="cuts is 'maybe'; wanted one of: find, none, list"):
        CutSettings.checked("maybe", 0.3, "")


def test_the_picture_shows_who_is_when_and_where(analyzer: FaceAnalyzer) -> None:
    shown = cut_film()
    made = followed(analyzer, shown, TrackChoice("number", 1))
    (picture,) = (made.preview * 255).round().byte().numpy()
    assert picture.shape == (232, 1024, 3)

    def at(frame: float, lane: int, across: float) -> tuple[int, ...]:
        x = 112 + 896 * frame / 30
        y = 12 + lane * 76 + 64 * across
        return tuple(picture[round(y), round(x)].tolist())

    green, blue, lane = (60, 220, 60), (96, 176, 255), (44, 44, 52)
    assert at(5.5, 0, 230 / 320) == green and at(5.5, 0, 90 / 320) == lane
    assert at(15.5, 0, 90 / 320) == green and at(25.5, 0, 203 / 320) == green
    assert at(5.5, 1, 95 / 320) == blue and at(25.5, 1, 90 / 320) == lane
    assert at(12, 0, 0.5) == at(20, 0, 0.5) == (230, 120, 90)
    assert is_shown(picture, 0, person=5)


def is_shown(picture: Picture, lane: int, person: int) -> bool:
    """Whether the small picture of a lane is of a person. picture: RGB."""
    face = picture[12 + 76 * lane : 76 + 76 * lane, 40:104].reshape(-1, 3)
    colour = face[:, 2] + (face[:, 0].astype(float) + face[:, 1]) / 2
    known = drawing.PERSON_BASE + drawing.PERSON_STEP * person
    return bool((np.abs(colour - known) <= 1).mean() > 0.3)  # an ellipse of the square


def test_who_comes_late_has_a_small_picture_too(analyzer: FaceAnalyzer) -> None:
    made = followed(analyzer, film([chosen_scene(n) for n in range(20)]))
    (picture,) = (made.preview * 255).round().byte().numpy()
    assert [is_shown(picture, lane, person) for lane, person in enumerate((1, 3, 6))] == [True] * 3

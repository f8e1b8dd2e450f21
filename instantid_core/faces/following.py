"""One person followed through a video: from frames to tracks, keypoints, a picture and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from .. import checks
from ..errors import NoFaceError
from ..images import ChannelOrder, Picture, to_images
from ..keypoints import FacePoints, Keypoints
from ..libraries import opencv
from ..log import note
from .analyzer import Embedding, FaceAnalyzer
from .cuts import ColourChange, Cuts, CutSettings, cuts_of
from .finding import Counted, Watched, points_of, unwatched
from .pick import likeness
from .records import FoundFace
from .references import AS_USUAL, LookSettings
from .timeline import THUMBNAIL, Lane, draw_timeline
from .tracks import ALL, LONGEST, ONE_PERSON, Sighting, Track, choose_tracks, link

SHOWN_FRAMES, SHOWN_FACES = 500, 2000  # of which small pictures are kept at most
TOLD = 24  # persons that the report names


Footage = Counted[Picture]  # a video's frames, one by one, of one size: (H, W, 3) BGR bytes


@dataclass(frozen=True)
class TrackChoice:
    """Whom to take: `index` counts from 0 in the order of `choice`, one of TRACK_CHOICES.

    like: (512,), whom to be like. order: of the channels of the photos that `like` is from.
    """

    choice: str = LONGEST
    index: int = 0
    like: Embedding | None = None
    order: ChannelOrder = ChannelOrder.BGR


@dataclass(frozen=True, eq=False)
class Followed:
    """What came of a video. preview: IMAGE, one picture. report: text for the user."""

    keypoints: Keypoints
    cuts: tuple[int, ...]
    preview: Tensor
    report: str


def follow(
    analyzer: FaceAnalyzer,
    footage: Footage,
    choice: TrackChoice,
    cuts: CutSettings,
    *,
    alike: float = ONE_PERSON,
    settings: LookSettings = AS_USUAL,
    watched: Watched = unwatched,
) -> Followed:
    """Follow every face of a video and return the keypoints of those that are meant.

    alike: least likeness, -1..1, of two stretches of the video that show one person. watched: told
    of every frame. What a frame shows is remembered by the analyzer: another choice looks at
    nothing anew.

    Raises NoFaceError, WrongInputError.
    """
    checks.number(settings.threshold, "threshold")
    seen = _Seen.of(analyzer, footage, settings, watched, choice.order)
    found = cuts_of(seen.changes, cuts)
    tracks = link(seen.frames, found.frames, checks.number(alike, "same_person"))
    if not tracks:
        raise NoFaceError(
            f"No face was found in {_frames(len(seen.frames))} of {seen.width}x{seen.height} "
            f"pixels. Wanted: a score of at least {settings.threshold:.2f}. Lower `threshold`, or "
            "choose footage that shows the face larger, upright and uncovered."
        )
    chosen = choose_tracks(tracks, choice.choice, choice.index, choice.like)
    keypoints = _keypoints(seen, tracks, chosen, found)
    lanes = [seen.lane(number, track, number in chosen) for number, track in enumerate(tracks)]
    picture = draw_timeline(lanes, len(seen.frames), seen.width, found.frames)
    summary = _summary(tracks, chosen, found, len(seen.frames), choice.choice)
    note(summary)
    lines = [_line(n, track, n in chosen, choice.like) for n, track in enumerate(tracks[:TOLD])]
    more = [f"and {len(tracks) - TOLD} more"] if len(tracks) > TOLD else []
    report = "\n".join([summary, found.words, *lines, *more])
    return Followed(keypoints, found.frames, to_images([picture]), report)


@dataclass(frozen=True, eq=False)
class _Seen:
    """What was seen in a video.

    frames: the faces of each frame. changes: of the colours. thumbnails: small pictures of faces,
    by the identity of their sighting; all in one array, as single ones would lie scattered in the
    memory between what is made and dropped for every frame, and hold it.
    """

    width: int
    height: int
    frames: list[tuple[Sighting, ...]]
    changes: list[float]
    thumbnails: dict[int, Picture]

    @classmethod
    def of(
        cls,
        analyzer: FaceAnalyzer,
        footage: Footage,
        settings: LookSettings,
        watched: Watched,
        order: ChannelOrder,
    ) -> _Seen:
        """Look at every frame once; faces are told apart with the channels in an order."""
        every = max(1, len(footage) // SHOWN_FRAMES)
        shelf = np.zeros((SHOWN_FACES, THUMBNAIL, THUMBNAIL, 3), np.uint8)
        colours, frames = ColourChange(), list[tuple[Sighting, ...]]()
        thumbnails: dict[int, Picture] = {}
        width = height = 0
        for picture in watched(footage):
            height, width = picture.shape[:2]
            found = analyzer.find(picture, threshold=settings.threshold, thorough=settings.thorough)
            sightings = [
                Sighting(
                    points_of(analyzer, picture, f, settings), analyzer.embed(picture, f, order)
                )
                for f in found.faces
            ]
            if len(frames) % every == 0:
                free = shelf[len(thumbnails) :]
                for sighting, face, place in zip(sightings, found.faces, free, strict=False):
                    _draw_thumbnail(picture, face, place)
                    thumbnails[id(sighting)] = place
            frames.append(tuple(sightings))
            colours.look(picture)
        return cls(width, height, frames, colours.values, thumbnails)

    def lane(self, number: int, track: Track, is_chosen: bool) -> Lane:
        """Return what the picture shows of a person: their largest face, and where they are."""
        places = {
            frame: (float(one.face.box[0]), float(one.face.box[2]))
            for frame, one in track.sightings.items()
        }
        kept = [one for one in track.sightings.values() if id(one) in self.thumbnails]
        largest = max(kept, key=lambda one: one.area, default=None)
        face = None if largest is None else self.thumbnails[id(largest)]
        return Lane(str(number), places, face, is_chosen)


def _draw_thumbnail(picture: Picture, face: FoundFace, place: Picture) -> None:
    """Draw a face and a little around it into a square place, (S, S, 3) bytes."""
    cv2 = opencv("Faces are followed")
    (x, y), half = face.center, 0.65 * max(face.width, face.height)
    scale = THUMBNAIL / (2 * half)
    onto = np.array([[scale, 0, THUMBNAIL / 2 - scale * x], [0, scale, THUMBNAIL / 2 - scale * y]])
    edge = cv2.BORDER_REPLICATE
    cv2.warpAffine(picture, onto, (THUMBNAIL, THUMBNAIL), place, cv2.INTER_LINEAR, edge)


def _keypoints(
    seen: _Seen, tracks: Sequence[Track], chosen: Sequence[int], cuts: Cuts
) -> Keypoints:
    frames: list[tuple[FacePoints, ...]] = []
    for frame in range(len(seen.frames)):
        here = [(number, tracks[number].sightings.get(frame)) for number in chosen]
        frames.append(tuple(replace(one.face, track=n) for n, one in here if one is not None))
    return Keypoints(seen.width, seen.height, tuple(frames), cuts.frames)


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _summary(
    tracks: Sequence[Track], chosen: Sequence[int], cuts: Cuts, count: int, choice: str
) -> str:
    """Say in a line how many persons there are, and who was taken."""
    people = "1 person" if len(tracks) == 1 else f"{len(tracks)} persons"
    times = "1 cut" if len(cuts.frames) == 1 else f"{len(cuts.frames)} cuts"
    begin = f"{people} in {_frames(count)} with {times}"
    if choice == ALL:
        return f"{begin}; all of them are taken"
    (number,) = chosen
    return f"{begin}; person {number} is taken, seen in {len(tracks[number].sightings)}"


def _line(number: int, track: Track, is_chosen: bool, like: Embedding | None) -> str:
    """Say of a person where they are seen and how large."""
    spans = _spans(sorted(track.sightings))
    parts = [
        f"person {number}{' (taken)' if is_chosen else ''}: frames {spans}",
        f"about {round(track.area**0.5)} pixels large",
    ]
    if like is not None:
        parts.append(f"likeness {likeness(track.embedding.astype(np.float32), like):.2f}")
    return ", ".join(parts)


def _spans(frames: Sequence[int]) -> str:
    """Return numbers in rows of their own: 0-47, 60-99."""
    spans: list[list[int]] = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    told = [f"{a}-{b}" if a < b else f"{a}" for a, b in spans]
    return ", ".join(told[:TOLD]) + (f" and {len(told) - TOLD} more" if len(told) > TOLD else "")

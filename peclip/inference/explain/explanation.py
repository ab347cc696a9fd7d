"""Explain the answer of a model for one clip: frames, places and texts, as arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange

from peclip.data.augment import normalize
from peclip.data.media.clip import ChosenFrames, read_chosen
from peclip.errors import InputError, listed
from peclip.files import IMAGE_SUFFIXES, atomic_write
from peclip.inference.cautions import of_model
from peclip.inference.explain.curves import Advance, BatchedModel, Curve, check_steps, curves
from peclip.inference.explain.curves import passes as passes_of_curves
from peclip.inference.explain.relevance import maps, margin
from peclip.inference.explain.texts import ClassText, fitting_texts
from peclip.labels import canonical
from peclip.model import PEClip
from peclip.model.watch import watched


@dataclass(frozen=True, eq=False)
class Explanation:
    """Reasons for the answer of a model for a clip of T frames.

    Attributes:
        file: path of the clip.
        labels: C class names.
        label: the class that is explained.
        caution: sentence about every answer of the model; empty if there is none.
        frames: RGB frames, uint8 (T, S, S, 3).
        numbers: number of each of these frames in the clip, from 0, (T,).
        count: number of frames of the clip.
        start: time of the video at which the clip begins, in seconds; None for the video's beginning.
        end: time of the video at which the clip ends, in seconds; None for the video's end.
        face: sentences that say which of several faces is explained; empty if there is one, or if faces were not looked for.
        logits: logits of the clip, (C,).
        probabilities: probabilities of the clip, (C,).
        without_frame: logits when each frame is omitted, (T, C).
        scales: scales of the temporal dynamic adapter of each block, (T, L), one for each token: the class token if there is one,
            the patches by rows, the prompts. Empty without such adapters.
        starts: number of class tokens, 0 or 1.
        rollout: share of each patch in the feature of its frame, (T, rows, columns).
        gradient: relevance of each patch for the class, (T, rows, columns).
        from_prompts: share of the feature of each frame that comes from prompts, (T,).
        texts: class texts in order of decreasing logit.
        curves: curves of deletion and insertion for ``gradient``, ``rollout`` and ``random``; empty if they were not requested.
    """

    file: str
    labels: tuple[str, ...]
    label: str
    caution: str
    frames: np.ndarray
    numbers: np.ndarray
    count: int
    start: float | None
    end: float | None
    face: str
    logits: np.ndarray
    probabilities: np.ndarray
    without_frame: np.ndarray
    scales: dict[int, np.ndarray]
    starts: int
    rollout: np.ndarray
    gradient: np.ndarray
    from_prompts: np.ndarray
    texts: tuple[ClassText, ...]
    curves: dict[str, Curve]

    @property
    def place(self) -> int:
        """Return the place of the explained class among the labels."""
        return self.labels.index(self.label)

    @property
    def name(self) -> str:
        """Return the name of the clip, and which part of the video it is."""
        since = "" if self.start is None else f" from {self.start:g} s"
        until = "" if self.end is None else f" to {self.end:g} s"
        return Path(self.file).name + since + until

    @property
    def worth(self) -> np.ndarray:
        """Return the worth of each frame, (T,): the decrease of the margin of the class if the frame is omitted.

        The margin is the logit of the class minus the mean logit of the others.
        """
        whole, without = (margin(torch.from_numpy(each), self.place) for each in (self.logits, self.without_frame))
        return (whole - without).numpy()

    def scale_maps(self) -> np.ndarray:
        """Return the scales of the patches by block (N, T, rows, columns)."""
        _, rows, columns = self.rollout.shape
        found = np.zeros((len(self.scales), *self.rollout.shape), np.float32)
        for place, scales in enumerate(self.scales.values()):
            patches = scales[:, self.starts : self.starts + rows * columns]
            found[place] = rearrange(patches, "t (h w) -> t h w", h=rows)
        return found

    def write(self, path: Path) -> None:
        """Write all arrays to an npz file."""
        units = [(text.label, unit.name, unit.worth) for text in self.texts for unit in text.units]
        arrays = {
            "labels": np.array(self.labels),
            "label": np.array(self.label),
            "frames": self.frames,
            "numbers": self.numbers,
            "start": np.array(np.nan if self.start is None else self.start),
            "end": np.array(np.nan if self.end is None else self.end),
            "face": np.array(self.face),
            "logits": self.logits,
            "probabilities": self.probabilities,
            "without_frame": self.without_frame,
            "worth": self.worth,
            "scale_blocks": np.array([*self.scales], np.int64),
            "scales": np.array([*self.scales.values()], np.float32),
            "rollout": self.rollout,
            "gradient": self.gradient,
            "from_prompts": self.from_prompts,
            "unit_labels": np.array([label for label, _, _ in units], np.str_),
            "units": np.array([name for _, name, _ in units], np.str_),
            "unit_worth": np.array([worth for *_, worth in units], np.float32),
        }
        for name, curve in self.curves.items():
            arrays |= {f"deletion_{name}": curve.deletion, f"insertion_{name}": curve.insertion}
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes the names for options


def read_moving(path: str, net: PEClip, start: float | None = None, end: float | None = None) -> ChosenFrames:
    """Read the frames of a clip that a model sees.

    Args:
        path: a video file, a folder of frames or a packed clip.
        net: the model.
        start: seconds from the beginning of a video.
        end: seconds from the beginning of a video.

    Raises:
        InputError: it cannot be read, or is a picture that does not move.
    """
    form = net.clip_format
    if path.lower().endswith(IMAGE_SUFFIXES) and Path(path).is_file():
        raise InputError(f"{path}: is a picture, expected a video or a folder of frames")
    found = read_chosen(path, form.num_frames, form.image_size, start=start, end=end)
    if found.frames < 2:
        raise InputError(f"{path}: has one frame: expected a clip of two frames or more")
    return found


def place_of(net: PEClip, label: str | None, logits: torch.Tensor) -> int:
    """Return the index of the requested class, by default that of the most probable one.

    Raises:
        InputError: the model has no such class.
    """
    if label is None:
        return int(logits.argmax())
    if (name := canonical(label)) not in net.labels:
        raise InputError(f"label is {label!r}: expected one of {listed(net.labels)}", "label")
    return net.labels.index(name)


def check_request(net: PEClip, label: str | None, steps: int) -> None:
    """Check the label and the steps that are requested, before a clip is read.

    Args:
        net: the model.
        label: the class to explain; None for the most probable one.
        steps: steps of the curves.

    Raises:
        InputError: the model has no such class, or a clip has fewer patches than steps.
    """
    if label is not None:
        place_of(net, label, torch.empty(0))
    if (grid := net.backbone.towers["vision"].grid) is not None:
        check_steps(steps, net.clip_format.num_frames * grid.rows * grid.columns)


def passes(net: PEClip, steps: int) -> int:
    """Return an estimate of the number of clips that :func:`explained` runs the model on."""
    return net.clip_format.num_frames + passes_of_curves(steps, orders=2)


def explained(
    net: PEClip,
    path: str,
    clip: ChosenFrames,
    label: str | None = None,
    steps: int = 8,
    batch_size: int = 4,
    advance: Advance = lambda _: None,
    moment: tuple[float | None, float | None] = (None, None),
    face: str = "",
) -> Explanation:
    """Explain the answer of a model for a clip.

    Args:
        net: the model, in evaluation mode.
        path: path of the clip.
        clip: its frames.
        label: the class to explain; by default the most probable one.
        steps: steps of the curves of deletion and insertion; 0 for no curves.
        batch_size: clips per pass.
        advance: called with the number of clips that are done.
        moment: start and end of the clip in its video, in seconds.
        face: sentences that say which of several faces the clip shows.

    Raises:
        InputError: the model has no such class, or its output is not finite.
    """
    device = net.token_ids.device
    video = normalize(clip.clip[None].to(device), net.clip_format)[0]
    seen = watched(net, video)
    logits = seen.logits.detach().float().cpu()
    if not logits.isfinite().all():
        raise InputError(f"{path}: the output of the model is not finite; its weights may be damaged")
    place = place_of(net, label, logits)
    where = maps(seen, margin(seen.logits, place))
    answers = BatchedModel(net, batch_size, advance)
    relevance = {name: getattr(where, name).float().cpu().numpy() for name in ("gradient", "rollout")}
    with torch.inference_mode():
        feature = net.encode_video(video[None])[0]
    return Explanation(
        file=path,
        labels=tuple(net.labels),
        label=net.labels[place],
        caution=of_model(net),
        frames=rearrange(clip.clip, "t c h w -> t h w c").numpy(),
        numbers=clip.numbers,
        count=clip.frames,
        start=moment[0],
        end=moment[1],
        face=face,
        logits=logits.numpy(),
        probabilities=net.probabilities(logits).numpy(),
        without_frame=answers.without_each_frame(video).numpy(),
        scales={block: scale.float().cpu().numpy() for block, scale in sorted(seen.scales.items())},
        starts=0 if seen.pooling else 1,
        **relevance,
        from_prompts=where.prompts.float().cpu().numpy(),
        texts=tuple(fitting_texts(net, feature, logits)),
        curves=curves(answers, video, place, relevance, steps),
    )

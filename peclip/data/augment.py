"""Turn decoded pixels into the model's input: normalisation, clip-consistent augmentation, mixup and FMix, and views in evaluation.

Everything runs where the pixels are, on whole batches. The randomness of a clip is a function of (seed, epoch, clip), that
of mixing of (seed, epoch, step), so a run is the same on any number of workers and devices.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from peclip.arguments import check_fields
from peclip.clip_format import ClipFormat, Views
from peclip.data.batch import on_device
from peclip.errors import InputError

# The last word of a random stream's key: it separates these draws from others made with the same seed and epoch.
_AUGMENT, _MIX = 101, 102

CROP_SHARE = 7 / 8
"""Side of a crop as a share of the frame's: 224 of 256 pixels, as is usual."""


@dataclass(frozen=True)
class Augment:
    """Augmentation of training clips, the same for all frames of a clip. The defaults are PE-CLIP's for every data set.

    Attributes:
        area: share of the frame that a random crop covers, smallest and largest, in (0, 1]. [1, 1] crops nothing.
        aspect: width over height of the crop before it is stretched to the square, smallest and largest.
        flip: probability of a horizontal flip.
        rotation: largest rotation in degrees, either way (FERV39K: 4).
        brightness: brightness is multiplied by 1 - b to 1 + b, with this b in [0, 1] (DFEW, AFEW: 0.5).
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    rotation: float = 0.0
    brightness: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        low, high = self.area
        _require(0 < low <= high <= 1, "area", self.area, "two shares with 0 < smallest <= largest <= 1")
        low, high = self.aspect
        _require(0 < low <= high < math.inf, "aspect", self.aspect, "two ratios with 0 < smallest <= largest")
        _require(0 <= self.flip <= 1, "flip", self.flip, "a probability from 0 to 1")
        _require(0 <= self.rotation <= 180, "rotation", self.rotation, "degrees from 0 to 180")
        _require(0 <= self.brightness <= 1, "brightness", self.brightness, "a number from 0 to 1")


@dataclass(frozen=True)
class Mix:
    """Mixing of the clips of a training batch in pairs. The defaults are PE-CLIP's.

    Attributes:
        mixup: probability that a batch is mixed by mixup (https://arxiv.org/abs/1710.09412): the pair is averaged.
        fmix: probability that a batch is mixed by FMix (https://arxiv.org/abs/2002.12047): blobs of one clip show the
            other.
        mixup_alpha: a clip's own share in mixup is drawn from Beta(alpha, alpha).
        mixup_range: smallest and largest own share in mixup; a draw outside is moved to the nearer end.
        fmix_alpha: a clip's own share of the area in FMix is drawn from Beta(alpha, alpha).
        fmix_decay: FMix blobs: amplitudes fall with the frequency to the power of -decay; larger is smoother.
    """

    mixup: float = 0.4
    fmix: float = 0.3
    mixup_alpha: float = 0.4
    mixup_range: tuple[float, float] = (0.3, 0.7)
    fmix_alpha: float = 1.0
    fmix_decay: float = 3.0

    def __post_init__(self) -> None:
        check_fields(self)
        _require(0 <= self.mixup <= 1, "mixup", self.mixup, "a probability from 0 to 1")
        _require(0 <= self.fmix <= 1, "fmix", self.fmix, "a probability from 0 to 1")
        together = self.mixup + self.fmix
        _require(together <= 1 + 1e-9, "mixup plus fmix", together, "a probability from 0 to 1")
        _require(0 < self.mixup_alpha < math.inf, "mixup_alpha", self.mixup_alpha, "a number above 0")
        low, high = self.mixup_range
        _require(0 <= low <= high <= 1, "mixup_range", self.mixup_range, "two shares with 0 <= low <= high <= 1")
        _require(0 < self.fmix_alpha < math.inf, "fmix_alpha", self.fmix_alpha, "a number above 0")
        _require(0 <= self.fmix_decay < math.inf, "fmix_decay", self.fmix_decay, "a number of at least 0")


def normalize(video: Tensor, clip_format: ClipFormat) -> Tensor:
    """Return clips as the image tower expects them.

    Args:
        video: ``(B, T, 3, H, W)``, RGB: uint8, or float in [0, 1]. It is not changed.
        clip_format: format of the model's clips; its mean and standard deviation by channel are used.

    Returns:
        float32 ``(B, T, 3, H, W)``.
    """
    pixels = _to_float(video).div_(255) if video.dtype == torch.uint8 else video.float()
    if not clip_format.is_normalised:
        return pixels
    values = on_device(torch.tensor([clip_format.mean, clip_format.std], dtype=torch.float32), pixels.device)
    mean, std = rearrange(values, "k c -> k c 1 1")
    return (pixels - mean).div_(std) if pixels is video else pixels.sub_(mean).div_(std)


def augment(
    video: Tensor,
    clips: Tensor | Sequence[int],
    settings: Augment,
    *,
    seed: int,
    epoch: int,
    size: int,
    again: Sequence[int] | None = None,
) -> Tensor:
    """Crop, flip, rotate and resize each clip in one bilinear resample, then change its brightness.

    The crop is torchvision's random resized crop and is stretched to ``size``; flip and rotation act on the result.
    Corners that a rotation opens show what surrounds the crop, and past the frame's edge its last pixels. The
    resample does not low-pass: frames should arrive at about ``size`` (a crop then only grows), at most twice as large.

    Args:
        video: uint8 ``(B, T, 3, H, W)``.
        clips: ``(B,)`` index of each clip in its data set. On the host if it can be: reading it from a device waits
            for all the work queued there.
        settings: ranges of the changes of a clip.
        seed: seed of the run, at least 0.
        epoch: number of the epoch, from 0. With ``seed`` and the clip's index it decides everything that is drawn.
        size: height and width of the result in pixels.
        again: number of times that each clip has appeared in the epoch before, which also decides; by default 0.

    Returns:
        float32 ``(B, T, 3, size, size)`` in [0, 1], not yet normalised.
    """
    height, width = video.shape[-2:]
    moves = settings.area[0] < 1 or settings.rotation > 0 or (height, width) != (size, size)
    indices = clips.tolist() if isinstance(clips, Tensor) else clips
    keys = [
        (i, _AUGMENT, *([before] if before else []))
        for i, before in zip(indices, again or [0] * len(indices), strict=True)
    ]
    draws = [_draw(np.random.default_rng((seed, epoch, *key)), settings, height, width) for key in keys]
    if settings.flip and not moves:  # pixels change places and are not mixed
        mirrored = [draw[0][0][0] < 0 for draw in draws]
        video = torch.stack([clip.flip(-1) if turned else clip for clip, turned in zip(video, mirrored, strict=True)])
    pixels = _to_float(video)
    if moves:
        # The frames of a clip share its geometry, so they go through the resample as channels of one picture.
        geometry = on_device(torch.tensor([draw[0] for draw in draws], dtype=torch.float32), video.device)
        picture = rearrange(pixels, "b t c h w -> b (t c) h w")
        picture = F.grid_sample(picture, _grid(geometry, size), padding_mode="border", align_corners=False)
        pixels = rearrange(picture, "b (t c) h w -> b t c h w", t=video.shape[1])
    if not settings.brightness:
        return pixels.div_(255)
    factor = on_device(torch.tensor([draw[1] / 255 for draw in draws], dtype=torch.float32), video.device)
    return pixels.mul_(rearrange(factor, "b -> b 1 1 1 1")).clamp_(max=1)


def mix(
    video: Tensor,
    labels: Tensor,
    settings: Mix,
    *,
    seed: int,
    epoch: int,
    step: int,
    places: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Mix the clips of a batch in neighbouring pairs (0 with 1, 2 with 3, ...), or return them unchanged.

    A batch is mixed in one way and with one share. Pairs are defined by the clips' places in the batch of all devices, so
    each device mixes its clips as one device would, as long as it has both clips of a pair. A clip whose partner is
    on another device is not mixed, nor is the last one of an odd number.

    Args:
        video: float ``(B, T, 3, H, W)``, normalised or not.
        labels: int64 ``(B,)``, or anything else with a row for each clip.
        settings: kinds of mixing, and how often each is used.
        seed: seed of the run, at least 0.
        epoch: number of the epoch, from 0.
        step: number of the batch in its epoch, from 0.
        places: places of the B clips in the batch of all devices, int; by default 0, 1, 2, ...

    Returns:
        The clips, their labels, their partners' labels and the clips' own share ``w``, in [0, 1]. The loss is
        ``w * CE(logits, labels) + (1 - w) * CE(logits, partners)``. Unmixed, ``w`` is 1 and both labels are the same.
    """
    rng = np.random.default_rng((seed, epoch, step, _MIX))
    choice = rng.random()
    if choice >= settings.mixup + settings.fmix:
        return video, labels, labels, 1.0
    at = {place: index for index, place in enumerate(range(len(labels)) if places is None else places)}
    partner = on_device(torch.tensor([at.get(place ^ 1, index) for place, index in at.items()]), video.device)
    if choice < settings.mixup:
        weight = float(np.clip(rng.beta(settings.mixup_alpha, settings.mixup_alpha), *settings.mixup_range))
        return video[partner].lerp_(video, weight), labels, labels[partner], weight
    height, width = video.shape[-2:]
    mask = _fmix_mask(rng, rng.beta(settings.fmix_alpha, settings.fmix_alpha), settings.fmix_decay, height, width)
    own = on_device(torch.from_numpy(mask), video.device)
    return torch.where(own, video, video[partner]), labels, labels[partner], float(mask.mean())


def into_views(video: Tensor, views: Views) -> Tensor:
    """Return the views of clips.

    Args:
        video: float (B, T * clips, 3, S, S); view i in time is every ``clips``-th frame from i on.
        views: one or more in time and in space.

    Returns:
        The video itself if there is only one view, else (B, V, T, 3, S, S).
    """
    if views.count == 1:
        return video
    return rearrange(_cut_views(video, views.crops), "b s (t v) c h w -> b (v s) t c h w", v=views.clips)


def _require(fine: bool, name: str, value: object, expected: str) -> None:
    if not fine:
        raise InputError(f"{name} is {value}, expected {expected}", *name.split(" plus "))


def _to_float(video: Tensor) -> Tensor:
    """Return a contiguous float32 copy with values from 0 to 255, which may be changed in place."""
    return video.to(torch.float32, memory_format=torch.contiguous_format, copy=True)


def _crop(rng: np.random.Generator, settings: Augment, height: int, width: int) -> tuple[int, int, int, int]:
    """Draw top, left, height and width of a crop in pixels, by the rule of torchvision's ``RandomResizedCrop``."""
    if settings.area[0] == 1:
        return 0, 0, height, width
    narrow, wide = settings.aspect
    for _ in range(10):
        area = height * width * rng.uniform(*settings.area)
        aspect = math.exp(rng.uniform(math.log(narrow), math.log(wide)))
        h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    # Nothing fitted: the largest centred crop of an allowed shape.
    w = min(width, round(height * wide)) if width / height > wide else width
    h = min(height, round(width / narrow)) if width / height < narrow else height
    return (height - h) // 2, (width - w) // 2, h, w


def _draw(
    rng: np.random.Generator, settings: Augment, height: int, width: int
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], float]:
    """Draw what happens to one clip.

    Returns:
        The rows of :func:`_grid` for x and for y, and the brightness factor.
    """
    # Always drawn, and first, so that switching one of them on does not change the others, or the crop.
    flip, turn, light = rng.random(3)
    top, left, h, w = _crop(rng, settings, height, width)
    mirror = -1 if flip < settings.flip else 1
    angle = math.radians(settings.rotation) * (2 * turn - 1)
    cos, sin = math.cos(angle), math.sin(angle)
    x = (mirror * cos * w / width, mirror * sin * w / width, (2 * left + w) / width - 1)
    y = (-sin * h / height, cos * h / height, (2 * top + h) / height - 1)
    if settings.rotation:
        top, left, h, w = 0, 0, height, width
    x_range = ((2 * left + 1) / width - 1, (2 * (left + w) - 1) / width - 1)
    y_range = ((2 * top + 1) / height - 1, (2 * (top + h) - 1) / height - 1)
    return ((*x, *x_range), (*y, *y_range)), 1 + settings.brightness * (2 * light - 1)


def _grid(geometry: Tensor, size: int) -> Tensor:
    """Return where each pixel of the result is read: ``(B, size, size, 2)``, x and y from -1 to 1 across the frame.

    Written out rather than taken from ``F.affine_grid``, whose matrix product loses bits under TF32 and autocast.

    Args:
        geometry: float32 ``(B, 2, 5)``: for x and for y the coefficients of the result's x and y, the offset, and the
            range that may be read. Without rotation that is the crop (which is then cut before it is resized), else
            the whole frame.
        size: height and width of the result in pixels.
    """
    place = (torch.arange(size, device=geometry.device, dtype=torch.float32) * 2 + 1) / size - 1
    by_x, by_y, offset, low, high = rearrange(geometry, "b xy k -> k b 1 1 xy")
    x, y = rearrange(place, "x -> 1 x 1"), rearrange(place, "y -> y 1 1")
    return (by_x * x + by_y * y + offset).clamp(low, high)


def _fmix_mask(rng: np.random.Generator, share: float, decay: float, height: int, width: int) -> np.ndarray:
    """Return a bool mask ``(H, W)``, true on the highest ``share`` of smooth random noise."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    amplitude = np.maximum(frequency, 1 / max(height, width)) ** -decay
    real, imaginary = rng.standard_normal((2, *amplitude.shape))
    noise = np.fft.irfft2((real + 1j * imaginary) * amplitude, s=(height, width)).ravel()
    mask = np.zeros(height * width, dtype=bool)
    own = round(share * height * width)
    mask[np.argsort(noise)[height * width - own :]] = True
    return rearrange(mask, "(h w) -> h w", h=height)


def _cut_views(video: Tensor, count: int) -> Tensor:
    """Return the crops (B, count, T, 3, S, S) of clips (B, T, 3, S, S), from left to right."""
    if count == 1:
        return video[:, None]
    side, frames = video.shape[-1], rearrange(video, "b t c h w -> (b t) c h w")
    small = max(round(CROP_SHARE * side), 1)
    top, room = (side - small) // 2, side - small
    lefts = [round(number * room / (count - 1)) for number in range(count)]
    cut = [frames[..., top : top + small, left : left + small] for left in lefts]
    large = [F.interpolate(each, (side, side), mode="bilinear", align_corners=False) for each in cut]
    return rearrange(large, "s (b t) c h w -> b s t c h w", b=len(video))

"""Several views of a clip: choices of its frames, and squares cut out of them."""

from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from peclip.clip_format import Views

SHARE = 7 / 8
"""Side of a crop as a share of the frame's: 224 of 256 pixels, as is usual."""


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
    return rearrange(_crops(video, views.crops), "b s (t v) c h w -> b (v s) t c h w", v=views.clips)


def _crops(video: Tensor, count: int) -> Tensor:
    """Return the crops (B, count, T, 3, S, S) of clips (B, T, 3, S, S), from left to right."""
    if count == 1:
        return video[:, None]
    side, frames = video.shape[-1], rearrange(video, "b t c h w -> (b t) c h w")
    small = max(round(SHARE * side), 1)
    top, room = (side - small) // 2, side - small
    lefts = [round(number * room / (count - 1)) for number in range(count)]
    cut = [frames[..., top : top + small, left : left + small] for left in lefts]
    large = [F.interpolate(each, (side, side), mode="bilinear", align_corners=False) for each in cut]
    return rearrange(large, "s (b t) c h w -> b s t c h w", b=len(video))

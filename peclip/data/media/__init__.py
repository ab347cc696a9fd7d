"""Decode media: a path and frame numbers in, uint8 frames (T, 3, H, W) out. Nothing else in the project decodes."""

from typing import TYPE_CHECKING

from peclip._lazy import lazy_exports

if TYPE_CHECKING:
    from peclip.data.media.clip import count_frames, every_frame, read_clip, segment_indices, stream_frames
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "count_frames": "peclip.data.media.clip",
            "every_frame": "peclip.data.media.clip",
            "read_clip": "peclip.data.media.clip",
            "segment_indices": "peclip.data.media.clip",
            "stream_frames": "peclip.data.media.clip",
        },
    )

__all__ = ("count_frames", "every_frame", "read_clip", "segment_indices", "stream_frames")

"""Decode media: a path and frame numbers in, uint8 frames (T, 3, H, W) out. Nothing else in the project decodes."""

from peclip.data.media.clip import count_frames, every_frame, read_clip, segment_indices, stream_frames

__all__ = ("count_frames", "every_frame", "read_clip", "segment_indices", "stream_frames")

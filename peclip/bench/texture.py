"""Generate clips to measure decoding: a texture that moves and bends as skin does, so that files are as large as real ones."""

import math
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

FRAMES, SIDE = 75, 224
"""Number of frames of a clip (3 s at 25 frames/s), and their side in pixels."""

MARGIN = 40  # pixels by which the texture is larger on each side
GRAIN = 10.0  # grey levels, of a camera's noise


def write_textured(path: Path, seed: int, frames: int = FRAMES) -> None:
    """Write an H.264 file with the defaults of x264 (crf 23, a keyframe every 250 frames): 1 to 2 Mbit/s.

    Args:
        path: path of the file, mp4.
        seed: seed of texture, movement and grain.
        frames: number of frames of the clip, at 25 a second.
    """
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25, options={"crf": "23", "preset": "medium"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # with more, the file depends on their timing
        for picture in _pictures(seed, frames):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))


def _pictures(seed: int, frames: int) -> Iterator[np.ndarray]:
    """Yield the frames of a clip, uint8 (SIDE, SIDE, 3)."""
    rng = np.random.default_rng(seed)
    texture, phase = _texture(rng), rng.uniform(0, 2 * math.pi, 6)
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(float)
    for number in range(frames):
        yield _picture(texture, x, y, number / 25, phase, rng)


def _picture(
    texture: np.ndarray, x: np.ndarray, y: np.ndarray, t: float, phase: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the texture at a time: moved as a whole, bent by waves, with grain."""
    down = 12 * math.sin(1.9 * t + phase[0]) + 8 * np.sin(x / 23 + 5 * t + phase[1]) * np.sin(y / 31 + phase[2])
    right = 12 * math.sin(1.3 * t + phase[3]) + 8 * np.sin(y / 19 + 4 * t + phase[4]) * np.sin(x / 27 + phase[5])
    row, column = y + MARGIN + down, x + MARGIN + right
    top, left = row.astype(int), column.astype(int)
    lower, righter = (row - top)[..., None], (column - left)[..., None]
    upper_row = texture[top, left] * (1 - righter) + texture[top, left + 1] * righter
    lower_row = texture[top + 1, left] * (1 - righter) + texture[top + 1, left + 1] * righter
    picture = upper_row * (1 - lower) + lower_row * lower + rng.normal(0, GRAIN, (SIDE, SIDE, 1))
    return picture.clip(0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator) -> np.ndarray:
    """Return noise with the spectrum of natural pictures, 1/f, most of it common to the colours: (side, side, 3)."""
    side = SIDE + 2 * MARGIN
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = np.inf
    waves = rng.normal(size=(4, *frequency.shape)) + 1j * rng.normal(size=(4, *frequency.shape))
    light, *colours = np.fft.irfft2(waves / frequency, s=(side, side))
    planes = [light / light.std() + 0.3 * colour / colour.std() for colour in colours]
    return np.stack([128 + 45 * plane for plane in planes], axis=-1)

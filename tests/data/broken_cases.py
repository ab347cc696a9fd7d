"""Files that are broken, odd or hostile, by what is wrong with them, and what reading each has to give."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.data.broken import (
    CONTAINERS,
    FRAMES,
    SIDE,
    animation,
    content,
    cut,
    cut_file,
    fifo,
    flipped,
    folder,
    good,
    instead,
    large_bmp,
    large_jpeg,
    large_png,
    link,
    listening,
    named,
    one_byte,
    picture,
    sparse,
    unknown_codec,
    unreadable,
    unreadable_folder,
    without_frames,
)
from tests.data.hostile import (
    bomb,
    heavy,
    long_animation,
    many_scans,
    many_units,
    many_units_by_length,
    scans_in_a_shard,
    scans_in_a_video,
    wide,
)
from tests.data.odd import (
    false_duration,
    gif,
    grey,
    late_sound,
    linked,
    odd_size,
    png_named_jpg,
    turned,
    two_videos,
    with_cover,
    with_sound,
)
from tests.media import write_audio, write_video

MILLISECOND = Fraction(1, 1000)
UNEVEN = np.cumsum(np.random.default_rng(0).integers(1, 200, FRAMES)).tolist()


class Case(NamedTuple):
    """A file and what reading it has to give.

    Attributes:
        name: of the file or folder.
        make: makes it at a path and returns the frames, uint8 (N, H, W, 3), that it shows; None if it shows none.
        says: what the refusal has to say; None where the file is to be read right; empty where either will do.
        off: grey levels by which a pixel may be off.
    """

    name: str
    make: Callable[[Path], np.ndarray | None]
    says: str | None
    off: int = 4


SHARES = (0.01, 0.2, 0.5, 0.8, 0.98)
CUTS = {
    f"{kind}, cut at {share:.0%}": Case(f"a{CONTAINERS[kind][0]}", cut(kind, share), ": ")
    for kind in CONTAINERS
    for share in SHARES
}
UNNOTICED = 256  # grey levels: without a checksum, a decoder may take for a picture what is none
FLIPS = {
    f"{kind}, flipped at {share:.1%}": Case(
        f"a{CONTAINERS[kind][0]}",
        flipped(kind, share),
        "",
        0 if kind == "mov with checksums" and share < 0.8 else UNNOTICED,  # its index follows, which has none
    )
    for kind in CONTAINERS
    for share in (0.0, 0.002, 0.01, 0.1, 0.3, 0.6, 0.9, 0.995)
}

REFUSED = {
    "zero bytes": Case("a.mp4", Path.touch, "is empty"),
    "text": Case("a.mp4", content(b"not a video at all\n" * 100), "not a video"),
    "noise": Case("a.mp4", content(np.random.default_rng(0).bytes(10_000)), "not a video"),
    "a JPEG as a video": Case("a.mp4", picture("JPEG"), "is a JPEG picture, not a video"),
    "a PNG as a video": Case("a.mp4", picture("PNG"), "is a PNG picture, not a video"),
    "a WebP as a video": Case("a.webp", picture("WEBP"), "is a WebP picture, not a video"),
    "a BMP as a video": Case("a.bmp", picture("BMP"), "is a BMP picture, not a video"),
    "an animated WebP": Case("a.webp", animation("WEBP"), "is an animated WebP picture, not a video"),
    "an animated PNG": Case("a.png", animation("PNG"), "is an animated PNG picture, not a video"),
    "a playlist": Case("a.mp4", content(b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n#EXT-X-ENDLIST\n"), "not a video"),
    "a list of files": Case("a.mp4", content(b"ffconcat version 1.0\nfile /etc/hostname\n"), "not a video"),
    "sound alone": Case("a.m4a", write_audio, "no video stream (streams: audio)"),
    "sound named mp4": Case("a.mp4", write_audio, "no video stream (streams: audio)"),
    "sound with a cover": Case(
        "a.mp4", lambda path: write_audio(path, cover=True), "no video stream (streams: a cover picture, audio)"
    ),
    "no frame in mp4": Case("a.mp4", without_frames, "no video stream (streams: none at all)"),
    "no frame in mkv": Case("a.mkv", without_frames, "not a video that can be read (End of file)"),
    "no frame in avi": Case("a.avi", without_frames, "has no frame"),
    "an unknown codec": Case("a.mp4", unknown_codec, "codec is not supported"),
    "frames of 20,000 x 2,000": Case("a.mov", wide(2_000), "has frames of more than 36,000,000 pixels"),
    "frames that claim 4 gigapixels": Case("a.avi", bomb, "cannot be decoded"),
    "frames of 106 MB": Case("a.avi", heavy, "6000x5900 pixels of 24 bits are more than the limit of 90,000,000 bytes"),
    "an empty folder": Case("a.mp4", Path.mkdir, "has no image"),
    "a folder without images": Case("a", lambda path: path.mkdir() or content(b"text")(path / "a.txt"), "has no image"),
    "a FIFO": Case("a.mp4", fifo, "neither a file nor a folder"),
    "a socket": Case("a.mp4", listening, "neither a file nor a folder"),
    "a device": Case("a.mp4", link("/dev/zero"), "neither a file nor a folder"),
    "a link to itself": Case("a.mp4", link("a.mp4"), "symbolic links"),
    "a link to nothing": Case("a.mp4", link("nowhere.mp4"), "No such file"),
    "no permission": Case("a.mp4", unreadable, "Permission denied"),
    "a folder without permission": Case("a", unreadable_folder, "Permission denied"),
    "a name that is too long": Case("a" * 300 + ".mp4", lambda path: None, "name too long"),
    "text among the frames": Case("a", folder(instead(content(b"text"))), "4.png: not an image"),
    "nothing among the frames": Case("a", folder(instead(Path.touch)), "4.png: not an image"),
    "a video among the frames": Case("a", folder(instead(named("mp4")), suffix=".jpg"), "4.jpg: not an image"),
    "a JPEG that is cut": Case("a", folder(cut_file, suffix=".jpg"), "4.jpg: not an image that can be read"),
    "a PNG that is cut": Case("a", folder(cut_file), "4.png: not an image that can be read"),
    "a WebP that is cut": Case("a", folder(cut_file, suffix=".webp"), "4.webp: not an image that can be read"),
    "a BMP that is cut": Case("a", folder(cut_file, suffix=".bmp"), "4.bmp: not an image that can be read"),
    "a flipped byte in a PNG": Case("a", folder(one_byte), "4.png: not an image that can be read"),
    "a JPEG that claims 4 gigapixels": Case("a", folder(instead(large_jpeg), suffix=".jpg"), "4290250000 pixels"),
    "a PNG that claims 4 gigapixels": Case("a", folder(instead(large_png)), "3600000000 pixels"),
    "a BMP that claims 4 gigapixels": Case("a", folder(instead(large_bmp), suffix=".bmp"), "3600000000 pixels"),
    "a JPEG of thousands of scans": Case("a", folder(instead(many_scans), suffix=".jpg"), "a JPEG of 3,010 scans"),
    "a JPEG of thousands of scans in a video": Case("a.avi", scans_in_a_video, "a JPEG of 3,010 scans"),
    "a JPEG of thousands of scans in a shard": Case("shard-00000.zip", scans_in_a_shard, "a JPEG of 3,010 scans"),
    "a frame of 200,000 units": Case("a.h264", many_units, "a frame of more than 10,000 NAL units"),
    "a frame of 200,000 units in mp4": Case("a.mp4", many_units_by_length, "a frame of more than 10,000 NAL units"),
    "an animated picture among the frames": Case(
        "a", folder(instead(animation("PNG"))), "4.png: is an animated picture"
    ),
    "a packed clip in a FIFO": Case("shard-00000.zip", fifo, "shard-00000.zip: is a pipe or a socket, expected a file"),
    "a packed clip in a device": Case("shard-00000.zip", link("/dev/zero"), "shard-00000.zip: is a device"),
    "a JPEG of 3 GB": Case("a", folder(instead(sparse), suffix=".jpg"), "4.jpg: not an image"),
    "a FIFO among the frames": Case("a", folder(instead(fifo)), "4.png: is a pipe or a socket"),
    "a device among the frames": Case("a", folder(instead(link("/dev/zero"))), "4.png: is a device"),
    "a folder among the frames": Case("a", folder(instead(Path.mkdir)), "4.png: "),
    "a link to itself among the frames": Case("a", folder(instead(link("4.png"))), "4.png: not a"),
    "a packed clip of no shard": Case("shard-00000.zip", content(b"no zip"), "shard-00000.zip: half-written"),
}

READ = {
    "one frame": Case("a.mp4", lambda path: write_video(path, 1, size=(SIDE, SIDE)), None),
    "mp4 named avi": Case("a.avi", named("mp4"), None),
    "avi named mp4": Case("a.mp4", named("avi"), None, 24),
    "webm named jpg": Case("a.jpg", named("webm"), None),
    "a name without suffix": Case("-a", named("mkv"), None),
    "a name like an address": Case("concat:a|b.mp4", named("mp4"), None),
    "a name with letters of all kinds": Case("é %d #1 'ü'\n.mp4", named("mp4"), None),
    "a folder named mp4": Case("a.mp4", folder(), None, 0),
    "PNG named jpg": Case("a", png_named_jpg, None, 0),
    "a link": Case("a.mp4", linked, None),
    "sound that begins late": Case("a.flv", late_sound, None),
    "frames of 20,000 x 200": Case("a.mov", wide(200), None, 8),
    "a false duration in mp4": Case("a.mp4", false_duration("mp4"), None),
    "a false duration in mkv": Case("a.mkv", false_duration("mkv"), None),
    "variable rate": Case("a.mp4", lambda path: good(path, pts=UNEVEN, time_base=MILLISECOND), None),
    "negative times": Case("a.mkv", lambda p: good(p, pts=[t - 900 for t in UNEVEN], time_base=MILLISECOND), None),
    "rotated": Case("a.mp4", turned, None),
    "interlaced": Case(
        "a.mp4", lambda p: good(p, codec_options={"flags": "+ildct+ilme", "x264-params": "tff=1"}), None
    ),
    "10 bit": Case("a.mp4", lambda path: good(path, pix_fmt="yuv420p10le"), None),
    "alpha": Case("a.mov", lambda path: good(path, codec="qtrle", pix_fmt="argb"), None, 0),
    "grey": Case("a.mp4", grey, None),
    "49 x 51 pixels": Case("a.mkv", odd_size(49, 51), None, 0),
    "1 x 1 pixel": Case("a.mkv", odd_size(1, 1), None, 0),
    "3 x 200 pixels": Case("a.mkv", odd_size(3, 200), None, 0),
    "sound before the video": Case("a.mp4", with_sound, None, 12),
    "an animation": Case("a.gif", gif, None, 0),
    "an animation of 20,000 frames of a pixel": Case("a.gif", long_animation, None, 0),
    "two videos": Case("a.mkv", two_videos, None),
    "a cover beside the video": Case("a.mp4", with_cover, None),
}

CASES = CUTS | FLIPS | REFUSED | READ

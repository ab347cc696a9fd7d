"""Compare training from packed clips with training from files, and the shards of peclip with litdata's and webdataset's.

pip install litdata webdataset
python benchmarks/packing.py [--rounds 10] [--clips 12]

Clips of 3 s at 224x224 pixels, textured, as H.264 files, as folders of JPEG files and packed. Each way reads 16 frames of
every clip, random within segments, and gives the same kind of tensor. litdata and webdataset hold the very JPEG frames of
peclip's shards, a clip in a sample, and are decoded in the same way, so that what differs is the container: litdata is asked
for clips in random order, as a map; webdataset reads its shard from beginning to end, as it is meant to.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import litdata
import numpy as np
import torch
import webdataset
from interleaved import processor_seconds, show
from jpeg import write_folder

from peclip.bench.input import SIDE, write_textured
from peclip.data.manifest import Manifest
from peclip.data.media.canvas import Canvas
from peclip.data.media.clip import read_clip, segment_indices
from peclip.data.media.shard import open_shard
from peclip.data.pack import Packing, pack

FRAMES = 16


def draw(number: int, clip: int) -> np.random.Generator:
    """Return the generator for a clip in a round."""
    return np.random.default_rng((number, clip))


def decode(data: bytes, sizes: list[int], rng: np.random.Generator) -> torch.Tensor:
    """Choose frames of a sample, which are JPEG files one behind the other, and decode them as peclip does."""
    chosen = segment_indices(len(sizes), FRAMES, rng)
    ends, canvas = np.cumsum(sizes), Canvas(Path("sample"), FRAMES, SIDE)
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.thread_count = 1
    for index in np.unique(chosen):
        (picture,) = decoder.decode(av.Packet(data[ends[index] - sizes[index] : ends[index]]))
        canvas.put(picture, np.flatnonzero(chosen == index))
    return canvas.clip


def samples(packed: Path) -> Iterator[dict[str, Any]]:
    """Yield the packed clips as samples: number, bytes of all frames, and the size of each."""
    for path in sorted(packed.glob("shard-*.zip")):
        shard, data = open_shard(str(path)), path.read_bytes()
        for clip in range(shard.label.first, shard.label.first + shard.label.clips):
            rows = shard.frames(clip)
            frames = [data[shard.offsets[row] : shard.offsets[row] + shard.sizes[row]] for row in rows]
            yield {"clip": clip, "frames": b"".join(frames), "sizes": json.dumps([len(frame) for frame in frames])}


def itself(sample: dict[str, Any]) -> dict[str, Any]:
    """Return a sample unchanged; litdata calls it for each."""
    return sample


def write_tar(path: Path, packed: Path) -> None:
    """Write the samples in the format of webdataset."""
    with webdataset.TarWriter(str(path)) as output:
        for sample in samples(packed):
            output.write(
                {"__key__": f"{sample['clip']:07d}", "mjpeg": sample["frames"], "json": sample["sizes"].encode()}
            )


def by_path(paths: list[Path], number: int) -> list[torch.Tensor]:
    """Read every clip as peclip's training does, in random order."""
    order = np.random.default_rng(number).permutation(len(paths))
    return [read_clip(paths[clip], FRAMES, SIDE, rng=draw(number, int(clip))) for clip in order]


def by_litdata(dataset: litdata.StreamingDataset, number: int) -> list[torch.Tensor]:
    """Read every clip from litdata, in random order."""
    chosen = (dataset[int(clip)] for clip in np.random.default_rng(number).permutation(len(dataset)))
    return [decode(one["frames"], json.loads(one["sizes"]), draw(number, one["clip"])) for one in chosen]


def by_webdataset(path: Path, number: int) -> list[torch.Tensor]:
    """Read every clip from a tar file, in its order."""
    dataset = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
    return [decode(one["mjpeg"], json.loads(one["json"]), draw(number, int(one["__key__"]))) for one in dataset]


def ways(folder: Path, clips: int) -> dict[str, Callable[[int], Any]]:
    """Write the clips in all formats, and return a reader for each."""
    files, folders, packed = ([folder / form / f"{clip}" for clip in range(clips)] for form in ("video", "jpeg", "-"))
    files = [path.with_suffix(".mp4") for path in files]
    for name in ("video", "jpeg", "litdata"):
        (folder / name).mkdir()
    for clip, (file, images) in enumerate(zip(files, folders, strict=True)):
        write_textured(file, clip)
        write_folder(images, file)
    manifest = folder / "clips.csv"
    manifest.write_text("path\n" + "".join(f"video/{clip}.mp4\n" for clip in range(clips)))
    table = pack(Manifest.read(manifest, labels_required=False), folder / "packed", Packing(SIDE))
    packed = [Path(table.clip(clip).path) for clip in range(clips)]
    write_tar(folder / "clips.tar", folder / "packed")
    litdata.optimize(
        itself,
        list(samples(folder / "packed")),
        str(folder / "litdata"),
        chunk_bytes="64MB",
        num_workers=1,
        verbose=False,
    )
    print(
        f"bytes: files {size(folder / 'video'):,}, folders {size(folder / 'jpeg'):,}, packed {size(folder / 'packed'):,}"
    )
    return {
        "peclip pack": partial(by_path, packed),
        "H.264 files": partial(by_path, files),
        "folders of JPEG files": partial(by_path, folders),
        f"litdata {version('litdata')}": partial(by_litdata, litdata.StreamingDataset(str(folder / "litdata"))),
        f"webdataset {version('webdataset')}": partial(by_webdataset, folder / "clips.tar"),
    }


def size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clips", type=int, default=12)
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        timed = ways(Path(name), options.clips)
        title = f"{FRAMES} random frames of a clip of 75, one core"
        show(title, processor_seconds(timed, options.rounds), options.clips)


if __name__ == "__main__":
    main()

"""Clips as files, and the same packed."""

import pytest

from peclip.data import pack as packing
from peclip.data.manifest import Manifest
from peclip.data.pack import Packing, pack
from tests.data.packed import SIZE
from tests.media import write_frames, write_video


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """The manifest of videos of 40 to 45 frames, a part of one, and a folder of frames."""
    folder = tmp_path_factory.mktemp("files")
    lines = ["path,label,split,fold,start,end"]
    for number in range(6):
        write_video(folder / f"{number}.mp4", 40 + number, size=(64, 48))
        lines.append(f"{number}.mp4,{('anger', 'happiness')[number % 2]},train,{1 + number % 3},,")
    write_frames(folder / "frames", 20)
    lines += ["0.mp4,anger,test,,0.4,1.0", "frames,happiness,test,,,"]
    (folder / "clips.csv").write_text("\n".join(lines) + "\n")
    return Manifest.read(folder / "clips.csv")


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of 0.1 MB, which two or three of the clips fill."""
    monkeypatch.setattr(packing, "MEGABYTE", 100_000)


@pytest.fixture
def packed(files, tmp_path, small_shards):
    """The folder of the packed clips."""
    pack(files, tmp_path / "packed", Packing(SIZE, shard_size=1))
    return tmp_path / "packed"

"""Damaged shards are reported in one line; clips are read from an address as from a disk."""

import json
import struct
import zipfile

import fsspec
import pytest

from peclip.data.media.clip import read_clip
from peclip.data.media.shard import open_shard
from peclip.errors import InputError
from tests.data.packed import SIZE, assert_same_clips, batches_of, module, shards_of


def assert_refused(folder, message, **options):
    with pytest.raises(InputError, match=message) as refused:
        batches_of(folder / "manifest.csv", **options)
    assert "\n" not in str(refused.value)


def test_a_missing_shard(packed):
    shards_of(packed)[1].unlink()
    assert_refused(packed, r"shard-00001\.zip: no such file")


@pytest.mark.parametrize("left", [0, 100, -1, -40, -400])
def test_a_half_written_shard(packed, left):
    shard = shards_of(packed)[1]
    shard.write_bytes(shard.read_bytes()[:left])
    assert_refused(packed, r"shard-00001\.zip: half-written or cut off")


def relabel(shard, **values):
    with zipfile.ZipFile(shard, "a") as file:
        file.comment = json.dumps(json.loads(file.comment) | values).encode()


def test_a_shard_of_another_version(packed):
    relabel(shards_of(packed)[1], peclip_pack=2)
    assert_refused(packed, r"shard-00001\.zip: packed in version 2 of the format, this peclip reads 1")


def test_frames_of_another_size_than_training_asks_for(packed):
    assert_refused(
        packed, "frames have 48 pixels, but the model needs 32: pack the clips again with --size 32", size=32
    )


def test_a_zip_file_that_is_no_shard(packed):
    with zipfile.ZipFile(shards_of(packed)[1], "w") as file:
        file.writestr("a.txt", "a")
    assert_refused(packed, r"shard-00001\.zip: a zip file, but not a shard")


def test_a_shard_with_other_clips_than_the_manifest_says(packed):
    first, second = shards_of(packed)[:2]
    second.write_bytes(first.read_bytes())
    assert_refused(packed, r"shard-00001\.zip: has no clip \d+: copy the shards and their manifest again")


def test_damage_to_a_frame_is_detected_by_its_checksum(packed):
    shard = shards_of(packed)[0]
    index = open_shard(str(shard))
    data = bytearray(shard.read_bytes())
    data[index.offsets[3] + 200] ^= 1
    shard.write_bytes(data)
    with pytest.raises(InputError, match=r"the checksum of frame 3 of clip 0000000 is wrong"):
        read_clip(shard / "0000000", 40, SIZE)
    assert read_clip(shard / "0000001", 40, SIZE).shape == (40, 3, SIZE, SIZE)


def test_damage_to_the_index_is_reported(packed):
    shard = shards_of(packed)[1]
    data = bytearray(shard.read_bytes())
    (begin,) = struct.unpack_from("<L", data, data.rfind(b"PK\x05\x06") + 16)
    for place in (begin, begin + 46 + 6, begin + 46 + 12):  # signature, number of the clip, number of the frame
        shard.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        open_shard.cache_clear()
        assert_refused(packed, r"shard-00001\.zip: damaged, its index")


def test_a_folder_without_its_manifest(packed):
    (packed / "manifest.csv").unlink()
    assert_refused(
        packed, r"manifest\.csv: no such file; peclip pack did not finish the shards beside it: run it again"
    )


# --- elsewhere than on a disk ---


def test_clips_are_read_from_an_address(files, packed):
    memory = fsspec.filesystem("memory")
    memory.put(str(packed), "/bucket/packed", recursive=True)
    try:
        assert_same_clips(batches_of("memory://bucket/packed/manifest.csv"), batches_of(files.source))
        memory.rm(f"/bucket/packed/{shards_of(packed)[1].name}")
        open_shard.cache_clear()
        with pytest.raises(InputError, match=r"^memory://bucket/packed/shard-00001\.zip: no such file$"):
            batches_of("memory://bucket/packed/manifest.csv")
    finally:
        memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("address", ["nowhere://a/manifest.csv", "memory://a/manifest.csv"])
def test_an_address_without_a_manifest(address):
    with pytest.raises(InputError, match=f"^{address}: "):
        module(address).setup("fit")

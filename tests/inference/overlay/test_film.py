import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from peclip.commands.recognize import recognize
from peclip.errors import InputError
from peclip.inference.overlay.draw import Drawing, Moment
from peclip.inference.overlay.film import READABLE, write_film
from peclip.inference.overlay.record import Record
from peclip.inference.recognizer import Row
from peclip.inference.segments import Segment
from peclip.inference.sources import read_frames
from peclip.inference.windows import Box, Seen, View
from peclip.labels import COLOURS
from tests.media import write_video

LABELS = ["happiness", "anger"]
TIMES = [0, 40, 80, 1400, 1420, 1500, 2000]  # ms; a picture is held for more than a second


class Tracked:
    """A face, by its number."""

    def __init__(self, number: int | None) -> None:
        self.number = number


def row(track: int | None, start: float, end: float, happiness: float = 0.9) -> Row:
    return Row("a", track, start, end, "happiness", {"happiness": happiness, "anger": 1 - happiness})


def record_of(box: Box, times: list[float], end: float) -> Record:
    record, face = Record(), Tracked(None)
    for seconds in times:
        record.see(seconds, View({face: Seen(box, 0.9, None)}))
    face.number = 1  # confirmed later than it was first seen
    record.add(row(1, 0, end))
    record.finish({})
    return record


def with_sound(video: Path, target: Path, codec: str, layout: str = "mono", seconds: float = 2.1) -> None:
    """Copy the pictures of a video beside a tone in the layout and codec."""
    with av.open(str(video)) as given, av.open(str(target), "w") as output:
        pictures = output.add_stream_from_template(given.streams.video[0])
        sound = output.add_stream(codec, rate=48000, layout=layout)
        tone = np.sin(np.arange(int(48000 * seconds)) / 20).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.stack([tone] * sound.channels), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                output.mux(packet)
        for part in av.AudioResampler(sound.format.name, layout, 48000).resample(frame):
            output.mux(sound.encode(part))
        output.mux(sound.encode(None))


def sound_of(path: Path) -> tuple[str, list[bytes], np.ndarray]:
    with av.open(str(path)) as file:
        codec = file.streams.audio[0].codec_context.codec.canonical_name
        packets = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
    with av.open(str(path)) as file:
        return codec, packets, np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])


def test_pictures_keep_their_times_and_turn_and_get_boxes(tmp_path):
    frames = np.full((len(TIMES), 360, 400, 3), 90, np.uint8)
    frames[:, :60, :, 0] = 250  # red above, where the video is stored: on the right when it is turned
    options = {"rotation": -90, "pts": TIMES, "time_base": Fraction(1, 1000)}
    write_video(tmp_path / "a.mkv", len(TIMES), frames=frames, **options)
    times = [time for time, _ in read_frames(str(tmp_path / "a.mkv"))]
    box = Box(100, 100, 90, 90)
    record = record_of(box, times, 2.1)
    write_film(str(tmp_path / "a.mkv"), tmp_path / "out.mp4", record, LABELS, "A caution: and more")
    stream = read_frames(str(tmp_path / "out.mp4"))
    written = list(stream)
    assert [time for time, _ in written] == pytest.approx(times, abs=1e-4)
    given = read_frames(str(tmp_path / "a.mkv"))
    before = [frame for _, frame in given]
    assert stream.end == pytest.approx(given.end, abs=1e-4)
    colour = [int(COLOURS["happiness"][place : place + 2], 16) for place in (1, 3, 5)]
    for (_, picture), old in zip(written, before, strict=True):
        assert old.shape == (400, 360, 3)
        assert picture.shape[0] > 400
        assert picture.shape[1] == 360
        assert np.abs(picture[300:400, 280:].astype(int) - old[300:400, 280:]).mean() < 4  # nothing is drawn here
        assert np.abs(picture[150, 101].astype(int) - colour).max() < 40


@pytest.mark.parametrize(("suffix", "codec", "layout"), [(".mp4", "aac", "stereo"), (".mkv", "pcm_s16le", "5.1")])
def test_sound_is_kept(tmp_path, suffix, codec, layout):
    write_video(tmp_path / "a.mp4", 50, fps=25)
    source = tmp_path / f"b{suffix}"
    with_sound(tmp_path / "a.mp4", source, codec, layout)
    write_film(str(source), tmp_path / "out.mp4", record_of(Box(0, 0, 9, 9), [0.0], 2.0), LABELS, "")
    (before, packets, _), (after, kept, sound) = sound_of(source), sound_of(tmp_path / "out.mp4")
    assert after == "aac"
    if before == "aac":
        assert kept == packets  # copied
    else:
        assert len(sound) == pytest.approx(48000 * 2.1, abs=2 * 1024)
        assert np.abs(np.fft.rfft(sound[:48000])).argmax() == pytest.approx(48000 / (40 * np.pi), abs=1)
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert min(file.streams.video[0].codec_context.width, file.streams.video[0].codec_context.height) >= READABLE


def test_values_and_meaning_of_colours_come_back(tmp_path):
    codec = {"colorprim": "bt709", "transfer": "bt709", "colormatrix": "bt709"}
    options = {"x264-params": ":".join(f"{key}={value}" for key, value in codec.items())}
    red = np.full((3, 480, 640, 3), (200, 60, 60), np.uint8)
    write_video(tmp_path / "a.mp4", 3, frames=red, codec_options=options)
    write_film(str(tmp_path / "a.mp4"), tmp_path / "out.mp4", record_of(Box(0, 0, 9, 9), [], 1), LABELS, "")
    with av.open(str(tmp_path / "a.mp4")) as one, av.open(str(tmp_path / "out.mp4")) as other:
        contexts = [file.streams.video[0].codec_context for file in (one, other)]
        assert [context.colorspace for context in contexts] == [1, 1]
        assert [context.color_primaries for context in contexts] == [1, 1]
        planes = [next(file.decode(video=0)).to_ndarray(format="yuv420p") for file in (one, other)]
    assert np.abs(planes[0][:480].astype(int) - planes[1][:480]).mean() < 2.5  # another matrix changes it by 9


def test_a_box_has_the_cautions_of_the_answer_at_this_time_not_those_of_the_whole_segment():
    segment = Segment(1, 0.0, 4.0, 0, np.array([0.8, 0.2]), ("seen for a moment (0.2 s)",))
    drawing, box = Drawing(600, 300, LABELS, ""), {1: Box(100, 100, 90, 90)}

    def drawn(label: Segment, answer: Segment) -> np.ndarray:
        canvas = np.full((300 + drawing.band, 600, 3), 90, np.uint8)
        drawing.draw(canvas, Moment(1.0, box, {1: label}, {1: answer}, []))
        return canvas

    sure, unsure = segment._replace(cautions=()), segment._replace(cautions=("seen for a moment",))
    assert (drawn(segment, sure) == drawn(sure, sure)).all()
    assert (drawn(segment, unsure) != drawn(segment, sure)).any()


def test_answers_are_recorded_in_order_with_the_numbers_that_faces_get():
    record, first, false = Record(), Tracked(None), Tracked(None)
    for number in range(200):
        record.see(
            number / 25, View({first: Seen(Box(number, 0, 9, 9), 1, None), false: Seen(Box(0, 0, 9, 9), 1, None)})
        )
        first.number = 2 if number > 3 else None
        if number % 25 == 24:
            rows = [
                row(1, number / 25 - 1, number / 25, 0.9 if number < 100 else 0.2),
                row(3, number / 25 - 0.5, number / 25),
            ]
            for each in rows:
                record.write_seen()
                record.add(each)
    record.finish({2: 1})
    views = list(record.views())
    assert [view.seconds for view in views] == [number / 25 for number in range(200)]
    assert [view.boxes for view in views] == [{1: Box(number, 0, 9, 9)} for number in range(200)]
    starts = [segment.start for segment in record.segments()]
    assert starts == sorted(starts)
    assert [segment.label for segment in record.segments() if segment.track == 1] == [0, 1]
    assert record.faces == 2
    assert record.end == pytest.approx(199 / 25)


def test_the_command_writes_it_once_or_not_at_all(monkeypatch, checkpoint, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "in" / f"{name}.mp4", 10)
    out = tmp_path / "out"

    def fail(source: str, target: Path, *rest: object) -> None:
        if "b.mp4" in source:
            target.write_bytes(b"half")
            raise InputError("broken off")
        write_film(source, target, *rest)

    options = {"out": str(out), "faces": "none", "video": True}
    monkeypatch.setattr("peclip.inference.overlay.film.write_film", fail)
    assert recognize([str(tmp_path / "in")], checkpoint, **options) == 1
    assert sorted(path.name for path in out.glob("*.mp4")) == ["a-annotated.mp4"]
    written = os.stat(out / "a-annotated.mp4").st_mtime_ns
    monkeypatch.undo()
    assert recognize([str(tmp_path / "in")], checkpoint, **options) == 0
    assert sorted(path.name for path in out.glob("*.mp4")) == ["a-annotated.mp4", "b-annotated.mp4"]
    assert os.stat(out / "a-annotated.mp4").st_mtime_ns == written
    capfd.readouterr()
    assert recognize(["-"], checkpoint, **options | {"out": str(tmp_path / "other")}) == 2
    assert capfd.readouterr().err.startswith("peclip: error: -: is read only once, so it cannot be written")
    with pytest.raises(InputError, match="holds answers with video true, not false"):
        recognize([str(tmp_path / "in")], checkpoint, out=str(out), faces="none")

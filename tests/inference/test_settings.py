"""The words and the order in which settings and options are written, which folders of older versions have."""

import json

from peclip.inference.settings import Options, Settings

SETTINGS = Settings(peclip="0.1", model="m", faces="none", window=2.0, stride=1.0, precision="32-true")


def test_settings_are_the_first_entries_of_the_json_file():
    assert json.dumps(SETTINGS.to_plain()) == (
        '{"peclip": "0.1", "model": "m", "faces": "none", "window": 2.0, "stride": 1.0, "precision": "32-true"}'
    )


def test_options_note_the_model_by_its_digest_and_nothing_that_is_not_asked_for():
    assert json.dumps(Options(SETTINGS, "abc", ("srt", "vtt")).to_plain()) == (
        '{"model": "m (abc)", "faces": "none", "window": 2.0, "stride": 1.0, "precision": "32-true", "format": "srt,vtt"}'
    )


def test_what_is_asked_for_is_noted_last():
    noted = Options(SETTINGS, "abc", (), {7: 3, 3: 3}, "sface", per_frame=True, video=True).to_plain()
    assert [*noted.items()][-4:] == [
        ("same", [(3, 3), (7, 3)]),
        ("face_features", "sface"),
        ("per_frame", True),
        ("video", True),
    ]

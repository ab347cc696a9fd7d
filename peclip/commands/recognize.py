"""``peclip recognize``: a person's own videos -> a folder with tables, json and pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from peclip.inference.join import Joiner
    from peclip.inference.recognizer import Recognizer


def recognize(
    videos: list[str],
    model: str = "zero-shot",
    out: str = "recognized",
    faces: Literal["yunet", "none"] = "yunet",
    face_model: str | None = None,
    window: float = 2.0,
    stride: float = 1.0,
    batch_size: int = 4,
    device: str = "auto",
    backbone: str | None = None,
    labels: list[str] | None = None,
    texts: str | None = None,
    format: str = "csv,json",
    same: list[str] | None = None,
    face_features: str = "none",
    per_frame: bool = False,
    video: bool = False,
    show: bool = False,
    precision: Literal["auto", "bf16-mixed", "32-true", "int8"] = "auto",
    trust: bool = False,
) -> int:
    """Recognize the expression of each face in videos over time.

    Writes into a folder: timeline.csv with a row per window and face (place, probabilities, and cautions), the same as
    timeline.json; segments.csv with the stretches in which a face shows one expression, without overlap; summary.csv with a
    row per face and the share of its time per class; a picture of each video over time, and one of each face in people/.

    Args:
        videos: Video files, folders of them, - for a video that is piped in, or a camera: camera for the first one, or
            its device, such as /dev/video0 (end it with Ctrl-C). Answers about a camera are printed as they come.
        model: Trained model: the folder of a run, a .ckpt, a package or its Hub id, or a released .pth; zero-shot is CLIP
            without training, with a text per class.
        out: Folder for the results. Interrupted, the same command resumes there; a folder with answers of other options or
            about other videos is refused.
        faces: Detector of faces: yunet finds and tracks every face (needs the extra peclip[faces]); none crops the
            middle of each frame, for videos that are face crops already.
        face_model: ONNX file of YuNet; by default it is downloaded from the Hub once.
        window: Length of a window in seconds, above 0 and at most 60.
        stride: Seconds from one window to the next, above 0 and at most the window.
        batch_size: Clips per forward pass.
        device: auto (cuda if there is one), cpu, cuda, cuda:1 or mps.
        backbone: Hub id or folder of the CLIP, if it has moved since the training; of zero-shot, by default
            openai/clip-vit-base-patch16.
        labels: Classes of zero-shot, such as happiness,sadness,anger; by default the seven basic ones.
        texts: class texts of zero-shot: YAML file with a text, or a list of texts, by label; or names, sentences or a template such as
            "a video of {label}". By default action units describe the classes that peclip knows.
        format: Files to write, joined by commas: csv and json, which are always written, srt and vtt (subtitles), and elan
            (annotations with a tier per face).
        same: Faces of one video that are one person, by their numbers, such as 3,7; several groups, as 3,7 4,9, or several
            options. All results follow.
        face_features: Features that bring the faces of one person together over cuts and absences: sface downloads OpenCV's SFace once, a
            file is that of SFace; none gives every track its own number.
        per_frame: Also write frames.csv, with a row per frame and face.
        video: Also write each video as NAME-annotated.mp4, with boxes, numbers, labels, probabilities, a running timeline and
            its sound.
        show: Show what a camera sees in a window, with the answers drawn into it; Escape ends it.
        precision: bf16-mixed, 32-true, or auto: bf16 where the device multiplies it in hardware, as in peclip test; int8 is
            quicker on CPUs without bf16, and changes probabilities a little.
        trust: Import classes of other packages that the model names; for models of people you trust.

    Returns:
        Exit code: 0 if every video was read, 1 if some were, 2 if none was.

    Raises:
        InputError: the model cannot be loaded, an option is out of range, or the folder for the results cannot be written.
    """
    from peclip.inference.formats import chosen_formats
    from peclip.inference.join import read_same
    from peclip.inference.recognize import recognize_videos
    from peclip.inference.recognizer import Recognizer
    from peclip.inference.settings import Options, Settings
    from peclip.inference.sources import refuse_address
    from peclip.inference.trained import load_model

    for source in videos:
        refuse_address(source)
    formats, groups = chosen_formats(format), read_same(same or [])
    net = load_model(model, backbone, labels, texts, trust)
    recognizer = Recognizer(net, faces, face_model, window, stride, batch_size, device, precision=precision)
    settings = Settings.of(recognizer, model, faces)
    options = Options(settings, _digest(recognizer), tuple(formats), groups, face_features, per_frame, video)
    return recognize_videos(recognizer, videos, Path(out), options, _joiner(face_features, faces, face_model), show)


def _joiner(features: str, faces: str, face_model: str | None) -> "Joiner | None":
    """Return the joiner of the faces of one person; None if faces are not joined."""
    from peclip.errors import InputError
    from peclip.inference.faces import SFace, YuNet
    from peclip.inference.join import Joiner

    if features == "none":
        return None
    if faces == "none":
        raise InputError("face_features compares faces that are found: omit --faces none", "face_features")
    return Joiner(SFace(None if features == "sface" else features, YuNet(face_model)), SFace.THRESHOLD)


def _digest(recognizer: "Recognizer") -> str:
    """Return the first digits of a digest of all that the logits of a model depend on."""
    from peclip.model.io.fits import model_digest

    return model_digest(recognizer.net.config, recognizer.net.trainable_state())[:12]

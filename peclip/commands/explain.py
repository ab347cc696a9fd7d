"""``peclip explain``: why a model answers as it does for one clip."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from peclip.inference.explain.explanation import Explanation


def explain(
    clip: str,
    model: str = "zero-shot",
    out: str = "explained",
    label: str | None = None,
    faces: Literal["yunet", "none"] = "none",
    face_model: str | None = None,
    start: float | None = None,
    end: float | None = None,
    curve_steps: int = 8,
    batch_size: int = 4,
    device: str = "auto",
    backbone: str | None = None,
    labels: list[str] | None = None,
    texts: str | None = None,
    trust: bool = False,
) -> None:
    """Explain the answer of a model for a clip: which frames counted, where it looked, and which text it matched.

    Writes NAME.png, NAME.html (one page that needs no network) and NAME.npz (all numbers) into a folder, NAME being that of the
    clip.

    Args:
        clip: Video file, folder of frames, or packed clip, cropped to a face as the clips of a manifest are; with --faces any
            video or folder of frames.
        model: Trained model: the folder of a run, a .ckpt, a package or its Hub id, or a released .pth; zero-shot is CLIP
            without training, with a text per class.
        out: Folder for the results. Files of the same names in it are replaced.
        label: Class to explain; by default the most probable one.
        faces: Detector of faces: yunet finds faces as peclip recognize does, and the one that is seen longest is explained
            (--faces alone means yunet; needs the extra peclip[faces]); none is for a clip of one face.
        face_model: ONNX file of YuNet; by default it is downloaded from the Hub once.
        start: Seconds from the beginning of a video at which the clip begins.
        end: Seconds from the beginning of a video at which the clip ends.
        curve_steps: Steps of the curves of deletion and insertion, each of which takes 10 passes of the model; 0 for no curves.
        batch_size: Clips per forward pass.
        device: auto (cuda if there is one), cpu, cuda, cuda:1 or mps.
        backbone: Hub id or folder of the CLIP, if it has moved since the training; of zero-shot, by default
            openai/clip-vit-base-patch16.
        labels: Classes of zero-shot, such as happiness,sadness,anger; by default the seven basic ones.
        texts: class texts of zero-shot: YAML file with a text, or a list of texts, by label; or names, sentences or a template such as
            "a video of {label}". By default action units describe the classes that peclip knows.
        trust: Import classes of other packages that the model names; for models of people you trust.

    Raises:
        InputError: the model or the clip cannot be read, the clip does not move or shows no face, the model has no such class, an
            option is out of range, or the folder cannot be written.
    """
    from peclip.console import PlainConsole, progress_bars
    from peclip.errors import InputError
    from peclip.files import check_folder
    from peclip.inference.explain.explanation import check_request, explained, passes, read_moving
    from peclip.inference.explain.faces import read_face
    from peclip.inference.faces import detector_of
    from peclip.inference.sources import refuse_address
    from peclip.inference.trained import load_model
    from peclip.model.device import find_device
    from peclip.terminal import say

    for name, value, least in (("curve_steps", curve_steps, 0), ("batch_size", batch_size, 1)):
        if value < least:
            raise InputError(f"{name} is {value}, expected at least {least}", name)
    refuse_address(clip)
    check_folder(Path(out))
    detect = detector_of(faces, face_model)
    net = load_model(model, backbone, labels, texts, trust).to(find_device(device)).eval()
    check_request(net, label, curve_steps)
    if detect is None:
        read, face = read_moving(clip, net, start, end), ""
    else:
        read, face = read_face(clip, net, detect, start, end)
    with progress_bars() as progress:
        task = progress.add_task("explaining", total=passes(net, curve_steps))
        found = explained(
            net,
            clip,
            read,
            label,
            curve_steps,
            batch_size,
            lambda more: progress.advance(task, more),
            (start, end),
            face,
        )
    page = _write(found, Path(clip), Path(out))
    if found.caution:
        PlainConsole(error=True).print(f"peclip: caution: {found.caution}", style="yellow", soft_wrap=True)
    if face:
        say(face)
    say(f"{page}: {found.label}, {found.probabilities[found.place]:.1%}; beside it the picture and the numbers")


def _write(found: "Explanation", clip: Path, out: Path) -> Path:
    """Write the numbers, the picture and the page of an explanation, named for the clip, and return the path of the page."""
    from peclip.inference.explain.page import write_page
    from peclip.inference.explain.picture import draw_explanation

    name = (clip.name if clip.is_dir() else clip.stem) or "clip"
    found.write(out / f"{name}.npz")
    draw_explanation(out / f"{name}.png", found)
    write_page(out / f"{name}.html", found)
    return out / f"{name}.html"

"""``peclip serve``: a web page that recognizes the expressions in a visitor's video."""

from collections.abc import Mapping
from typing import Literal

from peclip.errors import InputError


def serve(
    model: str = "zero-shot",
    host: str = "127.0.0.1",
    port: int = 7860,
    max_mb: float = 200.0,
    max_seconds: float = 120.0,
    queue: int = 32,
    faces: Literal["yunet", "none"] = "yunet",
    face_model: str | None = None,
    window: float = 2.0,
    stride: float = 1.0,
    batch_size: int = 4,
    device: str = "auto",
    backbone: str | None = None,
    labels: list[str] | None = None,
    texts: str | None = None,
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto",
    trust: bool = False,
) -> None:
    """Serve a web page that recognizes the expressions in a visitor's video, and an endpoint for programs.

    Needs the extra peclip[app], and no network. Uploads are deleted when they are answered, and everything when the server stops.

    Args:
        model: Trained model: the folder of a run, a .ckpt, a package or its Hub id, or a released .pth; zero-shot is CLIP
            without training, with a text per class.
        host: Address to listen on; the default is reachable from this machine alone, 0.0.0.0 from others too. There is no
            password.
        port: Port to listen on; 0 takes a free one.
        max_mb: Largest upload in megabytes.
        max_seconds: Longest video in seconds.
        queue: Number of videos that may wait; one is answered at a time.
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
        precision: bf16-mixed, 32-true, or auto: bf16 where the device multiplies it in hardware, as in peclip test.
        trust: Import classes of other packages that the model names; for models of people you trust.

    Raises:
        InputError: gradio is not installed, the model cannot be loaded, an option is out of range, or the port is taken.
    """
    import os
    from pathlib import Path

    _check(port, {"max_mb": max_mb, "max_seconds": max_seconds, "queue": queue})
    from peclip.inference.recognizer import Recognizer
    from peclip.inference.settings import Settings
    from peclip.inference.trained import load_model

    net = load_model(model, backbone, labels, texts, trust)
    recognizer = Recognizer(net, faces, face_model, window, stride, batch_size, device, precision=precision)
    # Answers for visitors must not name a folder of this machine.
    named = Path(model).resolve().name if Path(model).exists() else model
    from peclip.inference.app.store import temporary_folder

    with temporary_folder() as folder:
        from peclip.inference.app.server import serve_page

        is_busy = serve_page(
            recognizer, Settings.of(recognizer, named, faces), folder, host, port, max_mb, max_seconds, queue
        )
    if is_busy:
        os._exit(0)  # Python would wait for the model, whose answer is no longer needed


def _check(port: int, limits: Mapping[str, float]) -> None:
    """Check the numbers of a server, and that Gradio is installed, before the model is loaded.

    Raises:
        InputError: a number is out of range, or Gradio is missing.
    """
    from importlib.util import find_spec
    from math import isfinite

    for name, value in limits.items():
        if not (isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}: expected a number above 0", name)
    if not 0 <= port <= 65535:
        raise InputError(f"port is {port}: expected 0 to 65535", "port")
    if find_spec("gradio") is None:
        raise InputError('serve: the page needs Gradio: pip install "peclip[app]"')

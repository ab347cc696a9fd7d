"""Settings of a recognition, and options that the answers in a folder depend on: commands make them, and results hold them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from peclip import __version__
from peclip.inference.recognizer import Recognizer


@dataclass(frozen=True)
class Settings:
    """Settings by which a video was recognized: the first entries of ``timeline.json``.

    Attributes:
        peclip: version of peclip.
        model: name of the model.
        faces: detector of faces, ``yunet`` or ``none``.
        window: length of a window in seconds.
        stride: seconds from one window to the next.
        precision: precision of the computation, as :attr:`Recognizer.precision` names it.
    """

    peclip: str
    model: str
    faces: str
    window: float
    stride: float
    precision: str

    @classmethod
    def of(cls, recognizer: Recognizer, model: str, faces: str) -> Self:
        """Return the settings of a recognizer.

        Args:
            recognizer: recognizer of the videos.
            model: name of its model in the files.
            faces: name of its detector.
        """
        return cls(__version__, model, faces, recognizer.window, recognizer.stride, recognizer.precision)

    def to_plain(self) -> dict[str, Any]:
        """Return the settings as a JSON file holds them."""
        return asdict(self)


@dataclass(frozen=True)
class Options:
    """Options of a run of ``peclip recognize`` that its answers depend on; a folder of answers with other options is refused.

    Attributes:
        settings: how videos are recognized.
        digest: first digits of a digest of all that the model's logits depend on.
        formats: formats of files besides csv and json.
        same: new number of a face of the video by its number; see :func:`peclip.inference.join.read_same`.
        face_features: model whose features bring the faces of one person together; ``none`` for no model.
        per_frame: whether a table has a row for each face in each frame.
        video: whether each video is also written with what was recognized in it.
    """

    settings: Settings
    digest: str = ""
    formats: tuple[str, ...] = ()
    same: Mapping[int, int] = field(default_factory=dict)
    face_features: str = "none"
    per_frame: bool = False
    video: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Return the options as a folder of answers notes them; unused ones are omitted, so that older folders are resumed."""
        noted = self.settings.to_plain()
        del noted["peclip"]
        noted |= {"model": f"{self.settings.model} ({self.digest})", "format": ",".join(self.formats)}
        noted |= {"same": sorted(self.same.items())} if self.same else {}
        noted |= {"face_features": self.face_features} if self.face_features != "none" else {}
        noted |= {"per_frame": True} if self.per_frame else {}
        return noted | ({"video": True} if self.video else {})

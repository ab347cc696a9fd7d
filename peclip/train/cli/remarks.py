"""Compare model and clips before the run starts: refuse what does not fit, and print what differs."""

from peclip.data.benchmarks.whole_frames import advice_on_whole_frames
from peclip.data.datamodule import VideoDataModule
from peclip.data.manifest import Manifest
from peclip.data.manifest.faces_note import check_crops
from peclip.errors import counted, options_below
from peclip.model import PEClip, Trained
from peclip.train.callbacks.report import other_classes
from peclip.train.cluster.ranks import say_once


def check_faces(clips: Manifest, net: PEClip, is_fit: bool) -> None:
    """Check that clips of faces look like those of the model; advise to crop training clips that show more than faces.

    Raises:
        InputError: only the model or only the clips have upright faces.
    """
    with options_below("data"):
        check_crops(clips.source, net.clip_format.upright)
    if is_fit and (advice := advice_on_whole_frames(clips)):
        say_once(advice)


def say_what_differs(net: PEClip, data: VideoDataModule, trained: Trained | None) -> None:
    """Print how T and classes differ from those of the training, and how many clips were omitted; a test reports it."""
    found = other_classes(net.config, trained.config) if trained else None
    omitted = len(data.all_clips) - len(data.source)
    here, there = data.clip_format.num_frames, net.clip_format.num_frames
    remarks = [
        *([f"num_frames {here}, but the model was trained with {there}"] if here != there else ()),
        *(found.remarks if found else ()),
        *([f"{counted(omitted, 'clip')} of other labels omitted"] if omitted else ()),
    ]
    for remark in remarks:
        say_once(remark)

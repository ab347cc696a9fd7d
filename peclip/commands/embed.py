"""``peclip embed``: the features of the clips of a manifest, in a file and as a picture."""

from pathlib import Path
from typing import Literal

from peclip.errors import counted


def embed(
    manifest: str,
    model: str = "zero-shot",
    out: str = "features",
    format: Literal["parquet", "npz"] = "parquet",
    picture: Literal["tsne", "none"] = "tsne",
    batch_size: int = 4,
    num_workers: int = 2,
    on_error: Literal["raise", "skip"] = "raise",
    device: str = "auto",
    backbone: str | None = None,
    trust: bool = False,
) -> None:
    """Write the features of clips, L2-normalised in the space that they share with the class texts, and a map of them.

    Memory does not grow with the number of clips. The file is features.parquet or features.npz, the picture features.png.

    Args:
        manifest: csv file that peclip prepare wrote, or any other manifest; labels, splits and subjects may be missing.
        model: Trained model: the folder of a run, a .ckpt, a package or its Hub id, or a released .pth; zero-shot is CLIP
            without training.
        out: Folder for the results. Files of the same names in it are replaced.
        format: parquet has a row per clip, npz an array per column.
        picture: tsne draws a map of at most 5,000 clips by label, subject and split (needs the extra peclip[embed]); none draws
            nothing.
        batch_size: Clips per forward pass.
        num_workers: Processes that decode; 0 decodes in the main process.
        on_error: raise ends at a clip that cannot be read; skip omits it.
        device: auto (cuda if there is one), cpu, cuda, cuda:1 or mps.
        backbone: Hub id or folder of the CLIP, if it has moved since the training; of zero-shot, by default
            openai/clip-vit-base-patch16.
        trust: Import classes of other packages that the model names; for models of people you trust.

    Raises:
        InputError: the model, the manifest or a clip cannot be read, scikit-learn is not installed, an option is out of range, or
            the folder cannot be written.
    """
    from peclip.console import progress_bars
    from peclip.files import check_folder
    from peclip.inference.embed import data_of, features_of, write_features
    from peclip.inference.feature_map import check_installed, draw_map
    from peclip.inference.trained import load_model
    from peclip.model.device import find_device
    from peclip.terminal import say

    check_folder(Path(out))
    if picture == "tsne":
        check_installed()
    net = load_model(model, backbone, trust=trust).to(find_device(device)).eval()
    data = data_of(net, manifest, batch_size, num_workers, on_error)
    target, clips = Path(out) / f"features.{format}", data.predicted
    done = 0
    with progress_bars() as progress:
        task = progress.add_task("clips", total=len(clips))

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress.advance(task, more)

        shown = write_features(target, clips, features_of(net, data), format, advance)
    if picture == "tsne":
        draw_map(target.with_suffix(".png"), clips, shown, Path(manifest).name)
    skipped = f", {len(clips) - done:,} skipped" if done < len(clips) else ""
    say(f"{target}: {counted(done, 'clip')}{skipped}, {shown.values.shape[1]} numbers each")

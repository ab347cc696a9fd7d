"""Fill the dashboards of experiment trackers: settings, pictures of evaluations and gradient norms.

All of this is skipped if a run has no logger besides that of metrics.csv.
"""

import tempfile
from pathlib import Path

import torch
from einops import rearrange
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from peclip.clip_format import ClipFormat
from peclip.data.batch import NO_INDEX, Batch, on_device
from peclip.data.manifest import Manifest
from peclip.results.calibration import calibration, draw_calibration
from peclip.results.figures import Mistake, draw_confusion, draw_mistakes, worst
from peclip.train.callbacks.evaluation import (
    EvaluationCallback,
    evaluated_clips,
    is_logged,
    module_and_data,
)
from peclip.train.cluster.ranks import of_all_ranks
from peclip.train.evaluation import LateOutputs, Outputs
from peclip.train.parameters import count_parameters, count_trainable
from peclip.train.runs.boards import (
    boards_of,
    keep_report,
    show_mistakes,
    show_numbers,
    show_picture,
    show_settings,
    surroundings,
)
from peclip.train.runs.clips import split_digests
from peclip.train.runs.recorder import Recorder

FRAMES, SIDE = 6, 64
"""Frames of a mistake that are shown, and their side in pixels."""


class Dashboard(EvaluationCallback):
    """Shows a run in its loggers besides that of metrics.csv.

    Args:
        recorder: recorder that knows the options of the run.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._boards: list[Logger] = []
        self._outputs: list[Outputs] = []
        self._mistakes: list[Mistake] = []
        self._late = LateOutputs()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the loggers."""
        self._boards = boards_of(trainer.loggers)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show every option of the run, its model, its clips and what it runs on."""
        if self._boards and trainer.is_global_zero:
            module, data = module_and_data(trainer)
            model = {
                "parameters": count_parameters(module.net),
                "trainable": count_trainable(module.net),
                "flops_per_clip": module.flops,
            }
            facts = {
                "model": model,
                "clips": split_digests(data),
                **surroundings(),
            }
            show_settings(self._boards, {**self._recorder.options, "facts": facts})

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Log the norm of the gradients of each part, at the steps that are logged."""
        if self._boards and is_logged(trainer, trainer.global_step + 1):
            module = module_and_data(trainer)[0]
            parts = {
                name: part
                for name, part in module.net.named_children()
                if name in ("adapters", "prompts", "temporal", "peft", "norms")
            }
            sites = {
                f"{tower}.{site}": part
                for tower, sites in parts["adapters"].named_children()
                for site, part in sites.named_children()
            }
            others = {name: parts.get(name) for name in ("prompts", "temporal", "peft", "norms")}
            for name, part in {**sites, **others}.items():
                gradients = [weight.grad for weight in part.parameters() if weight.grad is not None] if part else []
                if gradients:
                    norm = torch.nn.utils.get_total_norm(gradients)
                    module.log(f"gradient_norm/{name}", norm, rank_zero_only=True)

    def on_evaluated(self, trainer: Trainer, outputs: Outputs, batch: Batch) -> None:
        """Keep the predictions of the batch before this one, and the frames of the worst mistakes, so that the device need not wait."""
        if self._boards and trainer.state.fn != "predict" and not trainer.sanity_checking:
            self._look(trainer)
            video = batch.video if batch.video.ndim == 5 else batch.video[:, 0]  # the first of several views
            frames = frames_of(video, module_and_data(trainer)[0].net.clip_format)
            self._late.put(outputs, batch.label, frames)

    def _look(self, trainer: Trainer) -> None:
        if found := self._late.take():
            outputs, (label, frames) = found
            labels = module_and_data(trainer)[0].net.labels
            self._outputs.append(outputs.known())
            mistakes = mistakes_of(outputs, label, frames, evaluated_clips(trainer), labels)
            self._mistakes = worst([*self._mistakes, *mistakes])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Collect the predictions and mistakes of all ranks."""
        self._look(trainer)
        if self._boards:
            self._outputs, self._mistakes = of_all_ranks(self._outputs), worst(of_all_ranks(self._mistakes))

    on_test_epoch_end = on_validation_epoch_end

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the results on the validation clips."""
        self._show(trainer, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the results on the test clips, and keep the files of the report."""
        self._show(trainer, "test")
        folder = trainer.log_dir if self._boards else None  # a collective call: all ranks make it
        if folder and trainer.is_global_zero:
            keep_report(self._boards, Path(folder))

    def _show(self, trainer: Trainer, stage: str) -> None:
        outputs, mistakes = self._outputs, self._mistakes
        self._outputs, self._mistakes = [], []
        if not outputs or not trainer.is_global_zero:
            return
        module, _ = module_and_data(trainer)
        labels, clips = module.net.labels, evaluated_clips(trainer)
        # Lightning counts so for its metrics: a validation belongs to the step before it, which a resumed run keeps.
        step = trainer.global_step - int(trainer.state.fn == "fit" and stage == "val")
        truth = clips.table["label"].map({label: place for place, label in enumerate(labels)}).to_numpy()
        clip = torch.cat([each.clip for each in outputs]).numpy()
        found = calibration(torch.cat([each.probabilities for each in outputs]).numpy(), truth[clip])
        title = f"{'test' if stage == 'test' else 'validation'} clips, step {step}"
        with tempfile.TemporaryDirectory() as folder:
            pictures = {name: Path(folder, f"{name}.png") for name in ("confusion", "calibration", "mistakes")}
            confusion = module.scores[stage].confusion
            assert confusion is not None
            draw_confusion(pictures["confusion"], confusion, labels, title)
            draw_calibration(pictures["calibration"], found, title)
            draw_mistakes(pictures["mistakes"], mistakes, f"worst mistakes: {title}")
            for name, path in pictures.items():
                show_picture(self._boards, f"pictures/{stage}/{name}", path, step)
            show_mistakes(self._boards, f"tables/{stage}/mistakes", mistakes, step)
            show_numbers(self._boards, {f"calibration/{stage}/error": found.error}, step)


def mistakes_of(outputs: Outputs, label: Tensor, frames: Tensor, clips: Manifest, labels: list[str]) -> list[Mistake]:
    """Return the mistakes of a batch of evaluated clips; all tensors are on the host.

    Args:
        outputs: outputs of the model for the B clips.
        label: (B,) int64, the true classes.
        frames: (B, N, SIDE, SIDE, 3) uint8, the pictures that :func:`frames_of` returns.
        clips: manifest of the clips.
        labels: class names in the order of the logits.
    """
    probabilities, predicted = outputs.probabilities, outputs.predicted
    wrong = (predicted != label) & (outputs.clip != NO_INDEX)
    found = []
    for place in wrong.nonzero()[:, 0].tolist():
        truth, answer = int(label[place]), int(predicted[place])
        shares = probabilities[place]
        path = str(clips.clip(int(outputs.clip[place])).path)
        own = frames[place].numpy().copy()  # a view would keep the whole batch in memory
        found.append(Mistake(path, labels[truth], labels[answer], float(shares[answer]), float(shares[truth]), own))
    return found


def frames_of(video: Tensor, clip_format: ClipFormat) -> Tensor:
    """Return some frames of normalised clips, float (B, T, 3, H, W), as small pictures: uint8 (B, N, SIDE, SIDE, 3)."""
    chosen = video[:, torch.linspace(0, video.shape[1] - 1, FRAMES, device=video.device).round().long()].float()
    values = on_device(torch.tensor([clip_format.mean, clip_format.std]), video.device)
    mean, std = rearrange(values, "k c -> k c 1 1")
    small = F.interpolate(rearrange(chosen * std + mean, "b n c h w -> (b n) c h w"), (SIDE, SIDE), mode="area")
    return rearrange((255 * small).round().clamp(0, 255).byte(), "(b n) c h w -> b n h w c", n=FRAMES)

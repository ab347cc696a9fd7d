"""A run that continues a single checkpoint, and is killed before it has one of its own, resumes from that checkpoint."""

import errno
import shutil
import signal
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest
import torch

from peclip.errors import InputError
from peclip.results.options import OPTIONS, read_changes, read_options
from peclip.train.cli import lightning
from peclip.train.module import PEClipModule
from peclip.train.runs import recorder
from tests.processes import AtCall, OnRank, in_a_process, send
from tests.ranked import in_ranks
from tests.runs import run, write_data
from tests.stress.killed import outcome

pytestmark = pytest.mark.usefixtures("blank_pictures")

DIE = partial(send, signal.SIGKILL)
STEP = "peclip.train.module:PEClipModule.training_step"
FASTER = ("--model.lr_adapters", "2e-3", "--allow_changes", "true")
RUN = Path("runs/tiny/version_0")


@pytest.fixture(scope="module")
def options(tiny_config):
    """Two epochs of 5 steps, two clips a batch, with a checkpoint after each third step."""
    values = {"trainer.max_epochs": 2, "data.batch_size": 2, "last.every_n_steps": 3, "model.zero_shot": "false"}
    given = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    return ["fit", "--config", str(tiny_config), *given]


@pytest.fixture(scope="module")
def base(tmp_path_factory, options):
    """A checkpoint of a training of one epoch and a step; not to be written to."""
    folder = tmp_path_factory.mktemp("base")
    # As that of step 9 takes its place, after those of steps 3, 5 and 6: an earlier kill may come before step 6 is on the disk.
    published = AtCall("peclip.train.runs.checkpoints:move", 4, DIE)
    assert in_a_process(folder, options, published)[0] == -signal.SIGKILL
    return (folder / RUN / "checkpoints/previous.ckpt").rename(folder / "base.ckpt")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, options, base):
    """The run that continues it with other learning rates, and was not killed; not to be written to."""
    folder = tmp_path_factory.mktemp("whole")
    with chdir(folder):
        result = run(*options, *FASTER, "--ckpt_path", base)
    assert (result.status, result.err) == (0, "")
    return folder / RUN


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory, options, base):
    """A folder with the same run, killed in its second step, whose checkpoint is gone by now; not to be written to."""
    folder = tmp_path_factory.mktemp("killed")
    shutil.copy(base, folder / "base.ckpt")
    args = [*options, *FASTER, "--ckpt_path", "base.ckpt"]
    assert in_a_process(folder, args, AtCall(STEP, 2, DIE))[0] == -signal.SIGKILL
    (folder / "base.ckpt").unlink()
    return folder


@pytest.fixture
def killed(killed_once, tmp_path, monkeypatch):
    """The folder of a copy of the killed run, in the working folder."""
    shutil.copytree(killed_once, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return RUN


def assert_refused(result, *says):
    assert (result.status, result.err.count("\n")) == (2, 1), result.err
    for part in says:
        assert part in result.err


# --- from where it resumes ---


@pytest.mark.parametrize("source", ["last", RUN])
def test_it_resumes_from_the_checkpoint_that_it_continued_and_ends_the_same(source, options, whole, killed):
    result = run(*options, "--model.lr_adapters", "2e-3", "--ckpt_path", source)
    assert (result.status, result.err) == (0, "")
    assert f"Resuming {RUN} from step 6" in result.out
    assert outcome(killed) == outcome(whole)
    assert read_changes(killed) == read_changes(whole)
    assert [path.name for path in killed.parent.iterdir()] == ["version_0"]
    assert not (killed / "start.ckpt").exists()


@pytest.mark.parametrize(
    ("more", "asked"), [((), [6]), (("--model.lr_prompts", "5e-3", "--allow_changes", "true"), [])]
)
def test_rows_that_it_repeats_are_known_unless_options_change_now(more, asked, options, killed, monkeypatch):
    """So that W&B shows them once; the run began with other options than its checkpoint's."""
    found = []
    monkeypatch.setattr(recorder, "rows_ahead", lambda rows, known, steps: found.append(steps) or ())
    result = run(*options, "--model.lr_adapters", "2e-3", *more, "--ckpt_path", "last")
    assert result.status == 0, result.err
    assert found == asked


@pytest.mark.slow
def test_it_resumes_from_a_checkpoint_of_its_own_where_it_has_one(options, whole, killed):
    args = [*options, "--model.lr_adapters", "2e-3", "--ckpt_path", "last"]
    assert in_a_process(Path.cwd(), args, AtCall(STEP, 3, DIE))[0] == -signal.SIGKILL
    assert (killed / "start.ckpt").exists()
    assert in_a_process(Path.cwd(), args, AtCall("lightning.pytorch:Trainer.test", 1, DIE))[0] == -signal.SIGKILL
    assert not (killed / "start.ckpt").exists()
    result = run(*args)
    assert "from step 10" in result.out
    assert outcome(killed) == outcome(whole)


def test_a_copy_that_a_kill_has_left_beside_its_own_checkpoint_goes_when_training_continues(options, base, killed):
    args = [*options, "--model.lr_adapters", "2e-3", "--ckpt_path", "last"]
    assert run(*args).status == 0
    shutil.copy(base, killed / "start.ckpt")
    result = run(*args, "--trainer.max_epochs", "3")
    assert "from step 10" in result.out, result.err
    assert not (killed / "start.ckpt").exists()


MOMENTS = {
    "before config.yaml": AtCall("peclip.files:_rename_new", 2, DIE),
    "before the training": AtCall("peclip.train.runs.recorder:SaveConfig.setup", 1, DIE),
    "before the first checkpoint": AtCall("lightning.pytorch:Trainer.save_checkpoint", 1, DIE),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_no_moment_before_its_own_checkpoint_loses_the_one_that_it_continued(moment, options, base, whole, tmp_path):
    args = [*options, *FASTER, "--ckpt_path", str(base)]
    assert in_a_process(tmp_path, args, MOMENTS[moment])[0] == -signal.SIGKILL
    with chdir(tmp_path):
        result = run(*options, "--model.lr_adapters", "2e-3", "--ckpt_path", "last")
    assert result.status == 0, result.err
    assert outcome(tmp_path / RUN) == outcome(whole)
    assert read_changes(tmp_path / RUN) == read_changes(whole)


def test_the_copy_is_a_checkpoint_that_a_further_run_continues(options, whole, killed):
    """A continuation of a continuation, which is killed as well."""
    args = [*options, *FASTER, "--ckpt_path", str(killed / "start.ckpt")]
    assert in_a_process(Path.cwd(), args, AtCall(STEP, 2, DIE))[0] == -signal.SIGKILL
    shutil.rmtree(killed)
    result = run(*options, "--model.lr_adapters", "2e-3", "--ckpt_path", "last")
    assert "Resuming runs/tiny/version_1 from step 6" in result.out
    assert outcome(Path("runs/tiny/version_1")) == outcome(whole)


def test_a_training_that_had_ended_is_continued_after_a_kill_as_well(options, base, tmp_path, monkeypatch):
    """As one that EarlyStopping has ended."""
    monkeypatch.chdir(tmp_path)
    content = torch.load(base, weights_only=True)
    content["callbacks"]["LastCheckpoint"]["ended"] = True
    torch.save(content, "ended.ckpt")
    args = [*options, "--ckpt_path", "ended.ckpt"]
    assert in_a_process(tmp_path, args, AtCall(STEP, 2, DIE))[0] == -signal.SIGKILL
    assert run(*options, "--ckpt_path", "last").status == 0
    assert torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 10


def test_a_run_without_logs_resumes_too(options, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = [*options, "--trainer.logger", "false"]
    again = [*args, "--ckpt_path", str(base)]
    assert in_a_process(tmp_path, again, AtCall(STEP, 2, DIE))[0] == -signal.SIGKILL
    result = run(*args, "--ckpt_path", "last")
    assert result.status == 0, result.err
    assert f"Resuming {RUN} from step 6" in result.out
    assert run(*again, "--folder", "whole").status == 0
    for name in ("metrics.json", "confusion.csv"):
        assert (RUN / name).read_bytes() == Path("whole", name).read_bytes()
    assert not [*Path().rglob("start.ckpt")]


@pytest.mark.stress
def test_two_ranks_resume_from_it(options, base, tmp_path):
    """Each has one of the two clips of a step."""
    args = [*options, "--data.batch_size", "1"]
    again = [*args, "--ckpt_path", str(base)]
    (tmp_path / "whole").mkdir()
    assert [each.status for each in in_ranks(tmp_path / "whole", again, 2)] == [0, 0]
    killed = in_ranks(tmp_path / "killed", again, 2, OnRank(0, AtCall(STEP, 2, DIE)), limit=30)
    assert killed[0].status == -signal.SIGKILL
    assert (tmp_path / "killed" / RUN / "start.ckpt").exists()
    results = in_ranks(tmp_path / "killed", [*args, "--ckpt_path", "last"], 2)
    assert [each.status for each in results] == [0, 0], results
    assert outcome(tmp_path / "killed" / RUN) == outcome(tmp_path / "whole" / RUN)


# --- what it resumes with ---


def test_other_options_than_its_own_are_refused_by_name(options, killed):
    """They are those of the checkpoint that it continued."""
    config = killed / OPTIONS
    before = {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()}
    result = run(*options, "--ckpt_path", "last")
    assert_refused(
        result, "model.lr_adapters 0.002 (now 0.0002)", "set --allow_changes true to change this from step 6 on"
    )
    result = run(*options, "--model.lr_adapters", "2e-3", "--checkpoint.monitor", "val/uar", "--ckpt_path", "last")
    assert_refused(result, "checkpoint.monitor val/score (now val/uar)", f"add --config {config}")
    result = run(*options, *FASTER, "--trainer.max_epochs", "1", "--ckpt_path", "last")
    assert_refused(result, "start.ckpt has reached trainer.max_epochs 1, so nothing would be trained")
    assert {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()} == before


def test_other_options_that_are_allowed_are_on_record(options, killed):
    result = run(*options, "--model.lr_adapters", "5e-3", "--allow_changes", "true", "--ckpt_path", "last")
    assert result.status == 0, result.err
    rates = [(each.step, each.before, each.now) for each in read_changes(killed) if each.option == "model.lr_adapters"]
    assert rates == [(6, 2e-4, 2e-3), (6, 2e-3, 5e-3)]
    assert read_options(killed)["model"]["lr_adapters"] == 5e-3
    (group, *_) = torch.load(killed / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"]
    assert group["initial_lr"] == 5e-3


def test_other_clips_are_refused(options, killed, tmp_path):
    manifest = write_data(tmp_path / "data")
    header, first, second, *rest = manifest.read_text().splitlines()
    manifest.write_text("\n".join([header, second, first, *rest]) + "\n")
    result = run(*options, "--model.lr_adapters", "2e-3", "--data.manifest", manifest, "--ckpt_path", "last")
    assert_refused(result, f"{manifest} has other training clips than {killed}")


# --- what is left of it ---


def full(path):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def damaged():
    raise InputError("3.mp4 is damaged")


def test_a_copy_that_cannot_be_written_ends_the_command_and_leaves_no_folder(options, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.copyfileobj", lambda source, target: full(target.name))
    result = run(*options, "--ckpt_path", base)
    assert_refused(result, "No space left on device")
    assert not [*tmp_path.iterdir()]


def test_a_run_that_fails_before_its_first_step_leaves_no_folder(options, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PEClipModule, "configure_optimizers", lambda self: damaged())
    assert_refused(run(*options, "--ckpt_path", base), "3.mp4 is damaged")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("other", ["start.ckpt", "config.yaml"])
def test_a_folder_in_which_another_command_has_begun_is_kept(other, options, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    choose = lightning.choose_folder

    def chosen(*args):
        folder = choose(*args)
        folder.mkdir(parents=True)
        (folder / other).write_text("another: 1\n")
        return folder

    monkeypatch.setattr(lightning, "choose_folder", chosen)
    assert_refused(run(*options, "--ckpt_path", base), "another command has begun there meanwhile")
    assert [path.name for path in RUN.iterdir()] == [other]
    assert (RUN / other).read_text() == "another: 1\n"


def test_a_damaged_copy_is_named(options, killed):
    path = killed / "start.ckpt"
    path.write_bytes(path.read_bytes()[:-5000])
    result = run(*options, "--model.lr_adapters", "2e-3", "--ckpt_path", "last")
    assert_refused(result, f"{path}: refused, damaged")


@pytest.mark.parametrize("sign", ["changes.yaml", "metrics.csv"])
def test_a_run_that_had_steps_and_has_no_checkpoint_does_not_start_again(sign, options, killed):
    """Earlier versions kept no copy of the checkpoint that a run continued."""
    for name in {"start.ckpt", "changes.yaml", "metrics.csv"} - {sign}:
        (killed / name).unlink()
    result = run(*options, "--model.lr_adapters", "2e-3", "--ckpt_path", "last")
    says = f"{killed} has no checkpoint, but its {sign} does not begin at step 0"
    assert_refused(result, says, "in a new run with --ckpt_path FILE.ckpt")


# --- a run that starts from a trained model ---


@pytest.fixture
def from_model(options, tiny_run, tmp_path, monkeypatch):
    """Options of a run that starts from a trained model, and a function that kills it in a step."""
    monkeypatch.chdir(tmp_path)
    args = [*options, "--data.num_frames", "null", "--model.net.num_frames", "3"]

    def kill(step):
        again = [*args, "--init_from", str(tiny_run)]
        assert in_a_process(tmp_path, again, AtCall(STEP, step, DIE))[0] == -signal.SIGKILL
        return again

    return args, kill


def test_killed_before_its_first_checkpoint_it_does_not_start_from_another_one(from_model, tiny_run):
    args, kill = from_model
    again = kill(2)
    assert_refused(run(*args, "--ckpt_path", "last"), f"init_from {tiny_run} (now null)"[:60])
    assert run(*again, "--ckpt_path", "last").status == 0


def test_with_a_checkpoint_it_need_not_name_its_model_which_stays_on_record(from_model, tiny_run):
    args, kill = from_model
    kill(6)
    result = run(*args, "--ckpt_path", "last")
    assert result.status == 0, result.err
    state = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["callbacks"]["LastCheckpoint"]
    assert state["options"]["init_from"] == str(tiny_run) == read_options(RUN)["init_from"]

"""Without a network the copies in the Hub's local cache are used at once, and what is missing is one line at once."""

import shutil

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import logging

from peclip.demo import CLIP as DEMO_FOLDER
from peclip.errors import InputError
from peclip.inference import faces
from peclip.model.backbones.checks import quiet
from peclip.model.backbones.load import load_backbone, load_tokenizer
from peclip.model.hub import HUB_ERRORS, on_hub

COMMIT = "0" * 40


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """A copy of tiny/clip in the cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--tiny--clip"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    return shutil.copytree(DEMO_FOLDER, folder / "snapshots" / COMMIT)


def let_hub(monkeypatch, error):
    """Let the Hub answer with an error, or with something, and refuse to be asked for a single file, which is tried five times."""

    def model_info(self, repository, timeout):
        if error is not None:
            raise error

    def refuse(*arguments, **options):
        raise AssertionError("a file is asked for")

    monkeypatch.setattr(HfApi, "model_info", model_info)
    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", refuse)
    monkeypatch.setattr(
        faces, "hf_hub_download", lambda *of, local_files_only=False: refuse() if not local_files_only else missing()
    )


def missing():
    raise faces.LocalEntryNotFoundError("no copy")


NO_NETWORK = HUB_ERRORS[0]("[Errno -2] Name or service not known")


def test_a_copy_is_used_without_asking_for_each_file(cached, monkeypatch):
    let_hub(monkeypatch, NO_NETWORK)
    assert on_hub("tiny/clip") == str(cached)
    assert load_tokenizer("tiny/clip").vocab_size == load_tokenizer("demo").vocab_size


def test_a_model_that_is_missing_is_one_line_at_once(cached, monkeypatch):
    let_hub(monkeypatch, NO_NETWORK)
    with pytest.raises(InputError, match=r"^backbone 'tiny/other' is neither .* run hf download tiny/other, or"):
        load_backbone("tiny/other")
    with pytest.raises(InputError, match="YuNet cannot be downloaded from the Hub"):
        faces.fetch(faces.YUNET_HUB, faces.YUNET_FILES, "YuNet", "face_model")


@pytest.mark.parametrize("error", [None, RepositoryNotFoundError.__new__(RepositoryNotFoundError)])
def test_with_a_network_the_hub_decides(cached, monkeypatch, error):
    let_hub(monkeypatch, error)
    assert on_hub("tiny/clip") == "tiny/clip"


def test_what_the_hub_reports_of_single_attempts_is_not_shown(capfd):
    with quiet():
        logging.get_logger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
    assert capfd.readouterr().err == ""
    assert logging.get_verbosity() == logging.WARNING

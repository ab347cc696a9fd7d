"""A configuration builds only what an option asks for; what it names is checked before it is imported."""

import http.server
import json
import sys
import threading

import pytest
import yaml
from jsonargparse._common import parsing_settings
from torch import nn

from peclip.errors import InputError
from peclip.guard import HOOKS, guarded
from peclip.model import SharedAdapter
from peclip.train.cli.command import command
from peclip.train.several import FitOptions

CALLS = []


class Canary:
    def __init__(self, *args, **options) -> None:
        CALLS.append("called")


def function() -> nn.Module:
    """A function that returns what an option asks for."""
    CALLS.append("called")
    return nn.Module()


class Own(nn.Module):
    """A loss of one's own, which wraps another and has an argument of any type."""

    def __init__(self, inner: nn.Module | None = None, anything=None, names: list[str] | None = None) -> None:
        super().__init__()


class OwnAdapter(SharedAdapter):
    """An adapter of one's own."""


CANARY = {"class_path": f"{__name__}.Canary"}
LOGGERS, CALLBACKS = "lightning.pytorch.loggers", "lightning.pytorch.callbacks"


def spec(path, **arguments):
    return {"class_path": path, "init_args": arguments}


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    """The parser of ``peclip fit``."""
    path = tmp_path_factory.mktemp("parser") / "x.yaml"
    path.write_text("data: {manifest: x.csv}")
    return command(FitOptions, ["fit", "--config", str(path)]).parser


@pytest.fixture
def read(parser):
    """Reads an option from a configuration, or options of a command line, and returns all options."""
    CALLS.clear()

    def read(option, value=None):
        if option.startswith("--"):
            args = [option, value]
        else:
            for name in reversed(option.split(".")):
                value = {name: value}
            args = ["--config", "{" + yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()[1:]]
        with guarded():
            return parser.parse_args(["fit", *args]).fit

    yield read
    assert CALLS == []


REFUSED = {
    "text of a class": ("trainer.logger", spec(f"{LOGGERS}.TensorBoardLogger", save_dir="x", comment=json.dumps(CANARY))),
    "text of text": ("trainer.logger", json.dumps(spec(f"{LOGGERS}.TensorBoardLogger", save_dir="x", purge_step=CANARY))),
    "in a list": ("trainer.logger", spec(f"{LOGGERS}.TensorBoardLogger", save_dir="x", purge_step=[CANARY])),
    "in a mapping": ("trainer.profiler", spec("lightning.pytorch.profilers.PyTorchProfiler", table_kwargs={"a": CANARY})),
    "a mapping": ("trainer.profiler", spec("lightning.pytorch.profilers.PyTorchProfiler", table_kwargs=CANARY)),
    "further arguments": ("trainer.logger", spec(f"{LOGGERS}.WandbLogger") | {"dict_kwargs": {"a": CANARY}}),
    "another kind": ("trainer.logger", CANARY),
    "another kind, by path": ("trainer.logger", CANARY["class_path"]),
    "another kind, as text": ("trainer.logger", json.dumps(CANARY)),
    "a profiler": ("trainer.profiler", CANARY),
    "a strategy": ("trainer.strategy", CANARY),
    "a plugin": ("trainer.plugins", [CANARY]),
    "an accelerator": ("trainer.accelerator", CANARY),
    "a callback": ("trainer.callbacks", [CANARY]),
    "a loss": ("model.loss", CANARY),
    "an optimizer": ("model.optimizer", CANARY),
    "a schedule": ("model.lr_scheduler", CANARY),
    "an adapter": ("model.net.adapters", {"vision.mlp": CANARY}),
    "prompts": ("model.net.prompts", CANARY),
    "class of the augmentation": ("data.augment", CANARY),
    "class of the augmentation, by path": ("data.augment", CANARY["class_path"]),
    "class of the model": ("model.net", CANARY),
    "a function in the place of a class": ("model.loss", f"{__name__}.function"),
    "a function in the place of a function": ("trainer.callbacks", [spec(f"{CALLBACKS}.LambdaCallback", setup=f"{__name__}.function")]),
    "a class in the place of a function": ("trainer.callbacks", [spec(f"{CALLBACKS}.LambdaCallback", setup=CANARY)]),
    "a schedule's function": ("model.lr_scheduler", spec("torch.optim.lr_scheduler.LambdaLR", lr_lambda=f"{__name__}.function")),
    "inside of a class of one's own": ("model.loss", spec(f"{__name__}.Own", anything=CANARY)),
    "another kind inside of one": ("model.loss", spec(f"{__name__}.Own", inner=CANARY)),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_class_where_none_or_another_is_expected_is_refused(case, read):
    option, value = REFUSED[case]
    for place in (option, f"--{option}"):
        with pytest.raises(InputError, match=rf"^{option}(\.init_args\.\w+)? (names|is) '{__name__}\.\w+'[^\n]*$"):
            read(place, value if place == option or isinstance(value, str) else json.dumps(value))


@pytest.mark.parametrize(
    "path", ["this.Logger", "os.system", "subprocess.Popen", "peclip.__main__.Logger", "http://x.y/z"]
)
@pytest.mark.parametrize(
    "option", ["trainer.logger", "trainer.plugins", "model.loss", "model.optimizer", "data.augment"]
)
def test_modules_of_python_programs_and_addresses_are_not_imported(option, path, read):
    before = set(sys.modules)
    for value in (path, {"class_path": path}):
        with pytest.raises(InputError, match=f"^{option} (names|is) '{path}'"):
            read(option, value)
    assert {"this", "peclip.__main__"} & (set(sys.modules) - before) == set()


ACCEPTED = {
    "a loss of torch": ("model.loss", spec("torch.nn.CrossEntropyLoss", label_smoothing=0.1)),
    "a loss of one's own": ("model.loss", f"{__name__}.Own"),
    "a loss in a loss": ("model.loss", spec(f"{__name__}.Own", inner=spec(f"{__name__}.Own"), anything={"a": [1, "x"]})),
    "an adapter of one's own": ("model.net.adapters", {"vision.mlp": spec(f"{__name__}.OwnAdapter", reduction=4)}),
    "a short name": ("trainer.logger", spec("CSVLogger", save_dir="x")),
    "a callback with a function as default": ("trainer.callbacks", [spec(f"{CALLBACKS}.BackboneFinetuning", verbose=True)]),
    "a callback with numbers as keys": ("trainer.callbacks", [spec(f"{CALLBACKS}.GradientAccumulationScheduler", scheduling={0: 2})]),
    "a plugin of Lightning": ("trainer.plugins", [spec("lightning.pytorch.plugins.AsyncCheckpointIO")]),
    "a class of its own": ("data.augment", spec("peclip.data.augment.Augment", flip=0.1)),
    "a section as text": ("data.augment", "{flip: 0.1}"),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_class_that_an_option_asks_for_is_accepted(case, read):
    option, value = ACCEPTED[case]
    read(option, value)


def test_options_that_take_names_take_what_yaml_reads_as_something_else(read):
    names = ["1", "no", "null", "1e3", "2020-01-01", "~", "0x10"]
    text = f"[{', '.join(names)}]"
    assert read("--data.labels", text).data.labels == names
    assert read("--config", f"{{data: {{labels: {text}}}}}").data.labels == names
    assert read("--config", f"{{model: {{loss: {{class_path: {__name__}.Own, init_args: {{names: {text}}}}}}}}}").model.loss.init_args.names == names  # fmt: skip
    texts = ", ".join(f"{name}: text {name}" for name in names)
    expected = {name: f"text {name}" for name in names}
    assert read("--model.net.texts", f"{{{texts}}}").model.net.texts == expected
    assert read("--config", f"{{model: {{net: {{texts: {{{texts}}}}}}}}}").model.net.texts == expected


def test_a_callback_whose_default_is_a_member_of_an_enumeration_can_be_saved(read, parser):
    options = read("trainer.callbacks", [spec(f"{CALLBACKS}.Timer", duration="00:01:00:00")])
    saved = yaml.safe_load(parser._subcommands_action._name_parser_map["fit"].dump(options))
    assert saved["trainer"]["callbacks"][0]["init_args"]["interval"] == "step"


def test_numbers_in_lists_stay_numbers(read):
    assert read("--data.augment.area", "[0.5, 1]").data.augment.area == (0.5, 1)
    options = read("model.optimizer", spec("torch.optim.Adam", betas=[0.5, 0.9]))
    assert options.model.optimizer.init_args.betas == (0.5, 0.9)
    assert read("model.loss", spec(f"{__name__}.Own", anything=[1, True])).model.loss.init_args.anything == [1, True]


def test_no_address_is_fetched(read):
    found = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/x.yaml"
        for option in (
            "trainer",
            "trainer.logger",
            "trainer.plugins",
            "trainer.default_root_dir",
            "model.net",
            "data.mix",
        ):
            for value in (address, f"filecache::{address}"):
                with pytest.raises(InputError, match=option):
                    read(option, value)
        with pytest.raises(InputError, match=r"cannot be read .*, expected a YAML file"):
            read("--config", address)
        with pytest.raises(InputError, match="save_dir is the address"):
            read("trainer.logger", spec(f"{LOGGERS}.CSVLogger", save_dir=address))
        server.shutdown()
    assert found == []


def test_a_section_may_be_in_a_file_beside_its_configuration(read, tmp_path):
    (tmp_path / "inner.yaml").write_text("batch_size: 7\nmix: mix.yaml")
    (tmp_path / "mix.yaml").write_text("fmix: 0.1")
    (tmp_path / "outer.yaml").write_text("data: inner.yaml")
    data = read("--config", str(tmp_path / "outer.yaml")).data
    assert (data.batch_size, data.mix.fmix) == (7, 0.1)
    (tmp_path / "mix.yaml").write_text("{fmix: 0.1, fmix: 0.2}")
    with pytest.raises(InputError, match=r"mix.yaml line 1: duplicate key 'fmix'"):
        read("--config", str(tmp_path / "outer.yaml"))


def test_text_that_is_a_bomb_is_refused_wherever_it_is(read):
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    for option in (
        "trainer.max_epochs",
        "trainer.logger",
        "trainer.callbacks",
        "data.labels",
        "data.augment",
        "model.loss",
    ):
        with pytest.raises(InputError, match=option) as refused:
            read(option, bomb)
        assert len(str(refused.value)) < 2000


def test_the_guard_ends_with_its_context(parser):
    before, settings = [vars(place)[name] for place, name, _, _ in HOOKS], dict(parsing_settings)
    with guarded():
        assert all(vars(place)[name] is not old for (place, name, _, _), old in zip(HOOKS, before, strict=True))
        assert parsing_settings != settings
    assert [vars(place)[name] for place, name, _, _ in HOOKS] == before
    assert parsing_settings == settings

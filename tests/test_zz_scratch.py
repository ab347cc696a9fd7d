import pytest

from tests.runs import run
from tests.test_bad_input import *


@pytest.mark.parametrize(
    "key",
    [
        "model__net__prompts",
        "model__net__adapters",
        "trainer__strategy",
        "trainer__profiler",
        "trainer__accelerator",
        "model__schedule",
    ],
)
@pytest.mark.parametrize(
    "spec",
    [
        {"class_path": "os.system", "init_args": {"command": "touch ran"}},
        {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "ran"]}},
    ],
)
def test_k(key, spec, place, config):
    s = {"vision.mlp": spec} if "adapters" in key else spec
    change(config, **{key: s})
    try:
        r = run("fit", "--config", config, "--trainer.max_epochs", "1")
        print("RESULT", key, r.status, r.err[:300])
    except Exception as e:
        print("RESULT RAISED", key, repr(e)[:300])
    print("RAN", (place / "ran").exists())
    print(yaml.safe_load(config.read_text())["model"]["net"]["prompts"])
    print(
        [str(p) for p in place.rglob("config.yaml")][:1]
        and open([p for p in place.rglob("config.yaml")][0]).read().split("prompts")[1][:200]
        if list(place.rglob("config.yaml"))
        else ""
    )

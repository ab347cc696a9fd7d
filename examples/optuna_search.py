"""Search learning rates and the number of prompts with Optuna: python examples/optuna_search.py 20 --config demo ...

The number is that of the trainings; options of peclip fit follow. Each training is in runs/optuna/TRIAL, and the search in
runs/optuna/search.log: the same command resumes both, in mid-epoch too. The score is the best UAR on validation clips; test clips select nothing.
"""

import csv
import gc
import sys
from pathlib import Path

import optuna
from optuna.trial import TrialState as State

from peclip.cli import main

RUNS = Path("runs/optuna")


def score(trial: optuna.Trial, options: list[str]) -> float:
    """Train once with values that Optuna suggests, and return the best UAR on the validation clips."""
    chosen = {
        "model.lr_adapters": trial.suggest_float("model.lr_adapters", 5e-5, 5e-3, log=True),
        "model.lr_prompts": trial.suggest_float("model.lr_prompts", 5e-6, 1e-3, log=True),
        "model.net.prompts.init_args.length": trial.suggest_categorical(
            "model.net.prompts.init_args.length", [2, 4, 8]
        ),
    }
    folder = folder_of(trial)
    own = ["--folder", str(folder), "--ckpt_path", "last"]
    main(["fit", *options, *own, *(f"--{name}={value}" for name, value in chosen.items())])
    gc.collect()  # the model of the last trial
    with (folder / "metrics.csv").open() as file:
        return max(float(row["val/uar"]) for row in csv.DictReader(file) if row.get("val/uar"))


def folder_of(trial: optuna.Trial | optuna.trial.FrozenTrial) -> Path:
    """Return the folder of a training, which it keeps when another trial resumes it."""
    return RUNS / str(trial.user_attrs.get("folder", f"{trial.number:03d}"))


def resume(study: optuna.Study) -> None:
    """Let the next trials resume the trainings that were interrupted, and those after them try other values."""
    for trial in study.get_trials(states=[State.RUNNING]):
        study.tell(trial.number, state=State.FAIL)
    begun = {folder_of(trial): trial.params for trial in study.get_trials() if trial.params}
    settled = {folder_of(trial) for trial in study.get_trials(states=[State.COMPLETE, State.WAITING])}
    for folder in sorted(begun.keys() - settled):
        study.enqueue_trial(begun[folder], user_attrs={"folder": folder.name})
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))


def search(trials: int, options: list[str]) -> optuna.Study:
    """Train so many times, those before an interruption included, and print the best values."""
    RUNS.mkdir(parents=True, exist_ok=True)
    file = optuna.storages.journal.JournalFileBackend(str(RUNS / "search.log"))
    study = optuna.create_study(
        study_name="peclip",
        storage=optuna.storages.JournalStorage(file),
        direction="maximize",
        load_if_exists=True,
    )
    resume(study)
    finished = len(study.get_trials(states=[State.COMPLETE]))
    study.optimize(lambda trial: score(trial, options), n_trials=max(trials - finished, 0))
    print(f"Best UAR on validation clips: {study.best_value:.2%}, in {folder_of(study.best_trial)}")
    print("\n".join(f"  --{name} {value}" for name, value in study.best_params.items()))
    return study


def words(args: list[str]) -> tuple[int, list[str]]:
    """Return the number of trainings and the options of peclip fit on a command line."""
    if not args or not args[0].isdecimal() or int(args[0]) == 0:
        sys.exit("a number of trainings is missing: python examples/optuna_search.py 20 --config demo")
    return int(args[0]), args[1:]


if __name__ == "__main__":
    try:
        search(*words(sys.argv[1:]))
    except KeyboardInterrupt:  # between trainings; within one, peclip ends like this
        print("interrupted: the same command resumes", file=sys.stderr)
        sys.exit(130)

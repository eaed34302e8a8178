"""run.json: what is known of a run beside its results, kept across interruptions."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from echozoo.engine.provenance import commit
from echozoo.errors import DataError
from echozoo.evaluation.report import origin, write_content
from echozoo.tables.runs import Run
from echozoo.zoo import shown

NAME = "run.json"
PATH, FOLDER = "PATH", "RUN"
"""Stand for the data set's folder and the run's in commands that are written down."""


@dataclass
class RunRecord:
    """A run's identity, how it was made, and how far it is.

    Attributes:
        config: Config file.
        scale: A scale of the config; None is the full size.
        seed: Of all random numbers.
        data: Name of the data set.
        dataset: ``KEY=VALUE`` for the data sets.
        cfg_options: ``KEY=VALUE`` for the config.
        amp: Mixed precision, if any.
        starts_from: Name of the run whose weights it started from.
        fingerprint: Of the config's values when the run began.
        parameters: Of the model.
        trainable: Of these, how many get gradients.
        train_command: Command line; None for a run that is only tested.
        test_command: Command line.
        started: When it began, in UTC.
        train_seconds: Wall-clock time of training with validations, over all restarts.
        test_seconds: Wall-clock time of testing.
        hardware: CPU or GPU.
        threads: Threads of each process.
        jobs: Runs that shared the machine, as earlier versions could have them.
        processes: Of the training and the test, one a GPU.
        versions: Of Python and packages.
        commit: Of the code, where it is a git checkout.
        trained: Whether training has ended.
        trained_until: Name of the last checkpoint, such as epoch_50.
        tested: Whether testing has ended.
    """

    config: str
    scale: str | None
    seed: int
    data: str
    dataset: list[str]
    cfg_options: list[str]
    amp: str | None
    starts_from: str | None
    fingerprint: str
    parameters: int
    trainable: int
    train_command: str | None
    test_command: str
    started: str
    train_seconds: float = 0.0
    test_seconds: float = 0.0
    hardware: str = ""
    threads: int = 1
    jobs: int = 1
    processes: int = 1
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    trained: bool = False
    trained_until: str = ""
    tested: bool = False

    def save(self, folder: Path) -> None:
        """Write run.json; what was there stays whole until the new one is."""
        write_content(folder / NAME, asdict(self))


def new_record(run: Run, processes: int = 1) -> RunRecord:
    """Begin the record of a run.

    Raises:
        ConfigError: The config's model cannot be built.
    """
    made = origin()
    parent = run.starts_from and run.starts_from.name
    options = [*run.options(parent), "--data-root", PATH]
    options += run.test_options([other.name for other in run.averages])
    trains = run.weights is None
    tested = [FOLDER if trains else run.averages[0].name if run.averages else run.weights]
    parameters, trainable = run.parameters
    return RunRecord(
        config=shown(run.config),
        scale=run.scale,
        seed=run.seed,
        data=run.data_name,
        dataset=list(run.dataset),
        cfg_options=list(run.cfg_options),
        amp=run.amp,
        starts_from=parent,
        fingerprint=run.fingerprint,
        parameters=parameters,
        trainable=trainable,
        train_command=None
        if run.weights is not None
        else _shown("train", run, [], options, processes),
        test_command=_shown("test", run, tested, options, processes),
        started=made["date"],
        versions=made["versions"],
        commit=commit(),
        processes=processes,
    )


def read_record(folder: Path) -> RunRecord | None:
    """Read the record of a run.

    Returns:
        The record; None for a run that was never started.

    Raises:
        DataError: The file is not one that `RunRecord.save` has written.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        unknown = set(values) - {f.name for f in fields(RunRecord)}
        if unknown:
            raise DataError(
                f"{path}: unknown keys {', '.join(sorted(unknown))}: written by another version; "
                "delete the folder to run it again"
            )
        return RunRecord(**values)
    except (OSError, ValueError, TypeError) as error:
        text = " ".join(str(error).split())
        raise DataError(f"{path}: {text}; delete the folder to run it again") from error


def _shown(step: str, run: Run, before: list[str], options: list[str], processes: int) -> str:
    """Return a command line without a machine's folders."""
    tool, count = ["python", f"tools/{step}.py"], []
    if processes > 1:
        tool, count = [f"tools/dist_{step}.sh"], [str(processes)]
    return shlex.join([*tool, shown(run.config), *before, *count, *options, "--work-dir", FOLDER])

"""The command line: `python -m lob_jax.main --config=configs/base.py --mode=train --workdir=runs/base`.

It wires the stages together and does nothing itself: see `lob_jax.stages.run` for what each mode runs.
"""

if __name__ == "__main__":  # before all that takes time to import
    from lob_jax.signals import listen

    listen()

import os
import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags
from rich.console import Console

from lob_jax.errors import InputError, TrainingError
from lob_jax.signals import EndsInOrder

MODES = (
    *("inspect", "convert", "prepare", "train", "evaluate", "generate", "export"),
    *("sweep", "find_lr", "overfit", "summary", "forecast"),
)
COMPILATION_CACHE = "~/.cache/lob_jax/xla"
EXIT_INPUT = 2  # the exit status of bad input
EXIT_TRAINING = 1  # of a run that had begun and could not go on
FLAGS = "--config, --mode, --workdir, --distributed, --coordinator, --processes, --process and --config.<key>=<value>"

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True, help_string="A file of configs/.")
_MODE = flags.DEFINE_enum("mode", "train", MODES, "What to do; each mode runs what it needs first.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; runs/<name of the config> by default.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the processes that the cluster tells of (TPU, SLURM, MPI)."
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, where no cluster tells of it.")
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes there are, with --coordinator.", lower_bound=1)
_PROCESS = flags.DEFINE_integer("process", None, "Which of them this is, from 0, with --coordinator.", lower_bound=0)


def _parse(argv: list[str]) -> list[str]:
    """Parse the flags; what absl and ml_collections say of wrong ones becomes one clear error."""
    try:
        rest = flags.FLAGS(argv)
        if _CONFIG.value is not None:
            _ = _CONFIG.value.seed  # a file that could not be loaded is told of when it is first read
        return rest
    except flags.Error as error:
        raise InputError(
            "a flag cannot be understood",
            where="the command line",
            expected=FLAGS,
            was=str(error).strip().splitlines()[-1],  # of a config file's own error, what lies above is its trace
            remedy="correct it; --help lists the flags",
        ) from error
    except (AttributeError, KeyError) as error:
        raise InputError(
            "the configuration has no such key",
            where=" ".join(argument for argument in argv if argument.startswith("--config.")),
            expected="a key of configs/base.py",
            was=str(error).strip("'\""),
            remedy="correct the key, or add it to configs/base.py with its default",
        ) from error
    except OSError as error:
        raise InputError(
            "the configuration cannot be read",
            where="--config",
            expected="a file such as configs/base.py",
            was=error,
            remedy="name a file that exists",
        ) from error


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs: a second start of the same model then takes seconds."""
    import jax

    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", os.path.expanduser(COMPILATION_CACHE))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _use_cores() -> None:
    """Make each core of a CPU a device, over which generated paths are spread; other devices stay as they are."""
    import jax

    jax.config.update("jax_num_cpu_devices", os.cpu_count())


def _join_processes() -> None:
    """Join the other processes of the run, if there are any; after it JAX knows the devices of all of them.

    Raises:
      InputError: not all that it takes is given, or the others were not there in time.
    """
    by_hand = {"coordinator": _COORDINATOR.value, "processes": _PROCESSES.value, "process": _PROCESS.value}
    given = [name for name, value in by_hand.items() if value is not None]
    if not given and not _DISTRIBUTED.value:
        return
    if given and len(given) < len(by_hand):
        raise InputError(
            "the processes of the run are told of in part",
            where="the command line",
            expected="--coordinator, --processes and --process together, or --distributed alone",
            was=", ".join(f"--{name}" for name in given),
            remedy="give all three; on a TPU pod, under SLURM or MPI, --distributed finds them",
        )
    if _MODE.value != "train":
        raise InputError(
            "several processes train together and do nothing else",
            where="--mode",
            expected="train",
            was=_MODE.value,
            remedy="run this mode in one process, without --distributed or --coordinator",
        )
    import jax

    where = [_COORDINATOR.value, _PROCESSES.value, _PROCESS.value] if given else []
    try:
        jax.distributed.initialize(*where)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            "the processes of the run did not come together",
            where="--coordinator" if given else "--distributed",
            expected=f"{_PROCESSES.value} processes" if given else "a cluster that JAX knows: TPU, SLURM or MPI",
            was=str(error).splitlines()[0],
            remedy="see that every process runs, with the same --coordinator, and that its port can be reached",
        ) from error


def main(argv: list[str]) -> int | None:
    """Check the configuration and run the mode; return the exit status, None for success."""
    if len(argv) > 1:
        raise InputError(
            "there are arguments that no flag takes",
            where="the command line",
            expected=FLAGS,
            was=argv[1:],
            remedy="write values as --flag=value",
        )
    if _CONFIG.value is None:
        raise InputError(
            "no configuration is named",
            where="--config",
            expected="a file such as configs/base.py",
            was="nothing",
            remedy="pass --config=configs/tiny.py to try the whole road in minutes",
        )
    from lob_jax import config  # it imports JAX, which takes seconds; a wrong flag is told at once
    from lob_jax.stages.run import run

    logging.set_verbosity(logging.ERROR)  # the libraries beneath warn of what they were asked to do
    config.validate(_CONFIG.value)
    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
    _use_compilation_cache()
    if _MODE.value == "generate":
        _use_cores()
    _join_processes()
    return run(_MODE.value, _CONFIG.value, workdir=pathlib.Path(_WORKDIR.value or f"runs/{name}"))


def start() -> None:
    """Run the program; what a user can mend ends in its message alone, without a trace of the program's insides."""
    try:
        with EndsInOrder():
            app.run(main, flags_parser=_parse)
    except (InputError, TrainingError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"error: {error}", markup=False)
        sys.exit(EXIT_INPUT if isinstance(error, InputError) else EXIT_TRAINING)


if __name__ == "__main__":
    start()

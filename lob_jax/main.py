"""The command line: `python -m lob_jax.main --config=base --mode=train --workdir=runs/base`.

It only parses, checks and dispatches; see `lob_jax.stages.run` for what each mode runs.
"""

if __name__ == "__main__":  # before the slow imports
    from lob_jax.signals import listen

    listen()

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import logging

import lob_jax
from lob_jax.command_line import UNCONFIGURED, Command, help_text, parse, wants_help, wants_version
from lob_jax.console import console, errors
from lob_jax.errors import InputError, TrainingError
from lob_jax.failures import divert_traces, of_memory, of_system, unforeseen
from lob_jax.serving.config import serve_config
from lob_jax.serving.experiments.config import experiments_config
from lob_jax.signals import EndsInOrder

COMPILATION_CACHE = "~/.cache/lob_jax/xla"
EXIT_INPUT = 2  # exit status after invalid input
EXIT_TRAINING = 1  # after a run that started and could not continue
EXIT_FAULT = 70  # after a bug of the program: EX_SOFTWARE of sysexits.h
WRITES_NOTHING = ("summary", "configs", "show_config", "serve", "experiments")


def checked(argv: Sequence[str]) -> Command:
    """Parse a command line, and check it as far as possible without reading data; this writes nothing.

    Raises:
      InputError: the command line is invalid.
    """
    command = parse(argv)
    _check_processes(command)
    if command.mode in UNCONFIGURED:
        return command
    serve_config(command.config.serve)
    experiments_config(command.config.experiments)
    if _needs_no_run(command):
        return command
    from lob_jax.config import validation  # imports JAX, which takes seconds: a wrong flag is reported before

    validation.validate(command.config)
    if command.mode not in WRITES_NOTHING:
        _check_workdir(command.workdir)
    return command


def _needs_no_run(command: Command) -> bool:
    """Return whether a command is about bundles or experiments: it needs no JAX, and no run's folder."""
    return command.mode == "experiments" or (command.mode == "serve" and bool(command.config.serve.bundle))


def _check_processes(command: Command) -> None:
    by_hand = ("coordinator", "processes", "process")
    given = [name for name in by_hand if getattr(command, name) is not None]
    if not given and not command.distributed:
        return
    if given and len(given) < len(by_hand):
        raise InputError(
            "the processes of the run are only partly specified",
            where="the command line",
            expected="--coordinator, --processes and --process together, or --distributed alone",
            was=", ".join(f"--{name}" for name in given),
            remedy="pass all three; on a TPU pod, under SLURM or MPI, pass --distributed instead",
        )
    process, processes = command.process, command.processes
    if process is not None and processes is not None and process >= processes:
        raise InputError(
            "there is no such process",
            where="--process",
            expected=f"0 to {processes - 1}, since --processes is {processes}",
            was=process,
            remedy="number them from 0",
        )
    if command.mode != "train":
        raise InputError(
            "only training supports several processes",
            where="--mode",
            expected="train",
            was=command.mode,
            remedy="run this mode in one process, without --distributed or --coordinator",
        )


def _check_workdir(workdir: pathlib.Path) -> None:
    """Check that a run's folder is writable, or can be created, without creating it."""
    try:
        there = next(path for path in (workdir, *workdir.absolute().parents) if os.path.lexists(path))
        folder = there.is_dir()
    except OSError as error:
        raise of_system(error) or error from error
    if not folder:
        raise InputError(
            "the run's folder cannot be a folder",
            where="--workdir",
            expected="a folder, or a path where one can be created",
            was=f"{there}, which is not a folder",
            remedy="pass another --workdir, or move that away",
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            "the run's folder is not writable",
            where="--workdir",
            expected="permission to write there, on a disk that is not read-only",
            was=there,
            remedy="pass another --workdir, or change its permissions",
        )


def _use_compilation_cache() -> None:
    """Cache compiled programs on disk, so that the same model starts within seconds the second time."""
    import jax

    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", COMPILATION_CACHE)
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _use_cores() -> None:
    """Make each CPU core a device, to shard generated paths over the cores; other platforms are unaffected."""
    import jax

    jax.config.update("jax_num_cpu_devices", os.cpu_count())


def _join_processes(command: Command) -> None:
    """Join the other processes of the run, if there are any; JAX then knows the devices of all.

    Raises:
      InputError: the others did not join in time.
    """
    by_hand = command.coordinator is not None
    if not by_hand and not command.distributed:
        return
    import jax

    try:
        # On a cluster that JAX detects all three are None, which leaves them to JAX.
        jax.distributed.initialize(command.coordinator, command.processes, command.process)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            "the processes of the run did not connect",
            where="--coordinator" if by_hand else "--distributed",
            expected=f"{command.processes} processes" if by_hand else "a cluster that JAX detects: TPU, SLURM or MPI",
            was=str(error).splitlines()[0],
            remedy="check that every process runs with the same --coordinator, and that its port is reachable",
        ) from error


def main(command: Command) -> int | None:
    """Run the mode of a checked command line; return the exit status, None for success."""
    from lob_jax.stages.run import run

    divert_traces(sys.argv, command.workdir)
    logging.use_absl_handler()
    logging.set_verbosity(logging.FATAL)  # libraries warn about intended use, and log what they also raise
    if command.mode not in UNCONFIGURED and not _needs_no_run(command):
        _use_compilation_cache()
    if command.mode == "generate":
        _use_cores()
    _join_processes(command)
    return run(command.mode, command.config, workdir=command.workdir)


def start(argv: Sequence[str] | None = None) -> None:
    """Run the program, and exit; any failure shows one error with a remedy, without a traceback."""
    argv = sys.argv if argv is None else argv
    workdir = None
    if wants_help(argv):
        console.out(help_text(), highlight=False)
        return
    if wants_version(argv):
        console.out(f"lob_jax {lob_jax.__version__}", highlight=False)
        return
    try:
        with EndsInOrder():
            command = checked(argv)
            workdir = command.workdir
            for note in command.notes:  # on standard error, since a mode's output may be piped to a file
                errors.print(note)
            status = main(command)
    except InputError as error:
        status = _fail(error, EXIT_INPUT)
    except TrainingError as error:
        status = _fail(error, EXIT_TRAINING)
    except Exception as error:  # the only handler of unforeseen exceptions
        explained = of_system(error, workdir=workdir) or of_memory(error)
        if explained is None:
            status = _fail(unforeseen(error, argv=argv, workdir=workdir), EXIT_FAULT)
        else:
            status = _fail(explained, EXIT_TRAINING)
    sys.exit(status)


def _fail(error: Exception | str, status: int) -> int:
    errors.out(f"error: {error}", highlight=False)
    return status


if __name__ == "__main__":
    start()

"""The command line: `python -m lob_jax.main --config=base --mode=train --workdir=runs/base`.

It wires the stages together and does nothing itself: see `lob_jax.stages.run` for what each mode runs.
"""

if __name__ == "__main__":  # before all that takes time to import
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
from lob_jax.signals import EndsInOrder

COMPILATION_CACHE = "~/.cache/lob_jax/xla"
EXIT_INPUT = 2  # the exit status of bad input
EXIT_TRAINING = 1  # of a run that had begun and could not go on
EXIT_FAULT = 70  # of a fault of the program itself: EX_SOFTWARE of sysexits.h
WRITES_NOTHING = ("summary", "configs", "show_config")


def checked(argv: Sequence[str]) -> Command:
    """Return what a command line asks for, checked as far as it can be without reading data; it changes nothing.

    Raises:
      InputError: what is wrong with it.
    """
    command = parse(argv)
    _check_processes(command)
    if command.mode in UNCONFIGURED:
        return command
    from lob_jax.config import validation  # it imports JAX, which takes seconds; a wrong flag is told at once

    validation.validate(command.config)
    if command.mode not in WRITES_NOTHING:
        _check_workdir(command.workdir)
    return command


def _check_processes(command: Command) -> None:
    by_hand = ("coordinator", "processes", "process")
    given = [name for name in by_hand if getattr(command, name) is not None]
    if not given and not command.distributed:
        return
    if given and len(given) < len(by_hand):
        raise InputError(
            "the processes of the run are told of in part",
            where="the command line",
            expected="--coordinator, --processes and --process together, or --distributed alone",
            was=", ".join(f"--{name}" for name in given),
            remedy="give all three; on a TPU pod, under SLURM or MPI, --distributed finds them",
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
            "several processes train together and do nothing else",
            where="--mode",
            expected="train",
            was=command.mode,
            remedy="run this mode in one process, without --distributed or --coordinator",
        )


def _check_workdir(workdir: pathlib.Path) -> None:
    """Check that a run's folder is there and can be written to, or can be made; nothing is made yet."""
    try:
        there = next(path for path in (workdir, *workdir.absolute().parents) if os.path.lexists(path))
        folder = there.is_dir()
    except OSError as error:
        raise of_system(error) or error from error
    if not folder:
        raise InputError(
            "the run's folder cannot be a folder",
            where="--workdir",
            expected="a folder, or a place where one can be made",
            was=f"{there}, which is no folder",
            remedy="name another --workdir, or move that away",
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            "the run's folder cannot be written to",
            where="--workdir",
            expected="the right to write there, on a disk that is not read-only",
            was=there,
            remedy="name another --workdir, or change its rights",
        )


def _use_compilation_cache() -> None:
    """Keep compiled programs between runs: a second start of the same model then takes seconds."""
    import jax

    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR", COMPILATION_CACHE)
    jax.config.update("jax_compilation_cache_dir", os.path.expanduser(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def _use_cores() -> None:
    """Make each core of a CPU a device, over which generated paths are spread; other devices stay as they are."""
    import jax

    jax.config.update("jax_num_cpu_devices", os.cpu_count())


def _join_processes(command: Command) -> None:
    """Join the other processes of the run, if there are any; after it JAX knows the devices of all of them.

    Raises:
      InputError: the others were not there in time.
    """
    by_hand = command.coordinator is not None
    if not by_hand and not command.distributed:
        return
    import jax

    try:
        # None, which all three are on a cluster that JAX knows, leaves it to JAX.
        jax.distributed.initialize(command.coordinator, command.processes, command.process)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            "the processes of the run did not come together",
            where="--coordinator" if by_hand else "--distributed",
            expected=f"{command.processes} processes" if by_hand else "a cluster that JAX knows: TPU, SLURM or MPI",
            was=str(error).splitlines()[0],
            remedy="see that every process runs, with the same --coordinator, and that its port can be reached",
        ) from error


def main(command: Command) -> int | None:
    """Run the mode that a checked command line asks for; return the exit status, None for success."""
    from lob_jax.stages.run import run

    divert_traces(sys.argv, command.workdir)
    logging.use_absl_handler()
    logging.set_verbosity(logging.FATAL)  # libraries beneath warn of what they are asked to do, and log what they raise
    if command.mode not in UNCONFIGURED:
        _use_compilation_cache()
    if command.mode == "generate":
        _use_cores()
    _join_processes(command)
    return run(command.mode, command.config, workdir=command.workdir)


def start(argv: Sequence[str] | None = None) -> None:
    """Run the program, and exit; however it fails, a user sees one error that says what to do, and no trace."""
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
            for note in command.notes:  # apart from what a mode prints, which may be kept
                errors.print(note)
            status = main(command)
    except InputError as error:
        status = _fail(error, EXIT_INPUT)
    except TrainingError as error:
        status = _fail(error, EXIT_TRAINING)
    except Exception as error:  # the last resort: no other place of the program catches what it did not foresee
        told = of_system(error, workdir=workdir) or of_memory(error)
        unknown = told is None
        status = _fail(
            unforeseen(error, argv=argv, workdir=workdir) if unknown else told, EXIT_FAULT if unknown else EXIT_TRAINING
        )
    sys.exit(status)


def _fail(error: Exception | str, status: int) -> int:
    errors.out(f"error: {error}", highlight=False)
    return status


if __name__ == "__main__":
    start()

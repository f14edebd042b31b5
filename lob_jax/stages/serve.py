"""The stage `serve`: answer requests about live order books over HTTP, with bundles or a run's best checkpoint."""

import contextlib
import importlib
import pathlib
from typing import TYPE_CHECKING, Any

import ml_collections

from lob_jax.console import console, errors, waiting
from lob_jax.errors import InputError
from lob_jax.serving.config import ServeConfig, models, serve_config

if TYPE_CHECKING:
    from lob_jax.serving.experiments.running import Experiments
    from lob_jax.serving.requests import Server

BUNDLES, RUNS = "lob_jax.serving.engine.open", "lob_jax.serving.engine.checkpoint"  # where models are opened
USUALLY = "1 s to 1 min, depending on the model"


def serve(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Open the models, and answer requests until a signal ends it.

    Raises:
      InputError: packages of the extra [serve] are not installed, a model cannot be opened, or the address is taken.
    """
    settings = serve_config(config.serve)
    try:
        from lob_jax.serving.http.serve import keys_of
        from lob_jax.serving.http.serve import serve as run_server

        opener = importlib.import_module(BUNDLES if settings.bundle else RUNS)
    except ImportError as error:
        raise without_packages(error) from error
    keys, own_key = keys_of(settings)
    with contextlib.ExitStack() as stack:
        experiments = None
        if settings.database:
            experiments = stack.enter_context(contextlib.closing(opened_experiments(settings.database)))
        with waiting("opening and warming the models", usually=USUALLY):
            servers = opened(config, workdir, settings, opener)
        for name, server in servers.items():
            facts = server.facts
            console.print(f"{name}: {facts.instrument.symbol}, {facts.parameters:,} parameters, {facts.precision}")
        if own_key:
            errors.print(f"key of this server, until it ends: {own_key}", soft_wrap=True, highlight=False)
        tell = lambda url: console.print(f"listening at {url}")  # noqa: E731
        run_server(servers, settings, keys=keys, on_listening=tell, experiments=experiments)


def opened_experiments(database: str) -> "Experiments":
    """Return the experiments of a database.

    Raises:
      InputError: packages of the extra [experiments] are not installed, or the database cannot be opened.
    """
    try:
        from lob_jax.serving.experiments.analysis import analysed
        from lob_jax.serving.experiments.running import Experiments
        from lob_jax.serving.experiments.store.store import Store
    except ImportError as error:
        raise without_packages(error, "experiments") from error
    return Experiments(Store(database), analysed)


def opened(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, settings: ServeConfig, opener: Any
) -> "dict[str, Server]":
    """Return the engines by the names of their models: those of the bundles, or of the run if there are none."""
    folders = models(settings.bundle)
    if folders:
        return {
            name: opener.open_server(folder, name=name, settings=settings.engine) for name, folder in folders.items()
        }
    from lob_jax.stages.model import trained_run  # imports JAX, which bundles do without

    name = next(iter(models([f"{workdir.absolute().name}={workdir}"])))
    return {name: opener.open_run(trained_run(config, workdir), name=name, settings=settings.engine)}


def without_packages(error: ImportError, extra: str = "serve") -> InputError:
    """Return the error for an installation without an extra that serving needs."""
    return InputError(
        "serving needs packages that are not installed",
        where="--mode=serve",
        expected=f"an installation with the extra [{extra}]",
        was=error,
        remedy=f'pip install -e ".[{extra}]"',
    )

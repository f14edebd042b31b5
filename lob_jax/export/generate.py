"""Open the network of a bundle and continue real events with it, where JAX does not exist: in ONNX Runtime."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from lob_jax.errors import InputError
from lob_jax.export.bundle import Bundle
from lob_jax.export.config import PLAIN, role_of
from lob_jax.export.decoder import OnnxDecoder, OnnxNetwork, session
from lob_jax.export.score import Forward
from lob_jax.generation.generated import Generated
from lob_jax.generation.host.loop import generate as generate_on_host
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.settings import SamplingConfig

STEP, FORWARD = "step", "forward"


def open_decoder(bundle: Bundle, *, precision: str = "", threads: int = 0) -> OnnxDecoder:
    """Return the network of a bundle, which reads tokens with a cache.

    Args:
      bundle: the bundle.
      precision: of its weights, such as "int8"; empty for the one that the bundle's card recommends.
      threads: of ONNX Runtime; 0 for one per core.

    Raises:
      InputError: the bundle has no such graph.
    """
    return OnnxDecoder(_graph(bundle, STEP, precision), bundle.model, threads=threads)


def open_network(bundle: Bundle, *, precision: str = "", threads: int = 0) -> OnnxNetwork:
    """Return the network of a bundle, which reads tokens with caches of its callers; see `open_decoder`."""
    return OnnxNetwork(_graph(bundle, STEP, precision), bundle.model, threads=threads)


def open_forward(bundle: Bundle, *, precision: str = "", threads: int = 0) -> Forward:
    """Return the network of a bundle as a function of complete windows, as `lob_jax.export.score.score` takes it.

    Args:
      bundle: the bundle.
      precision: of its weights, such as "int8"; empty for the one that the bundle's card recommends.
      threads: of ONNX Runtime; 0 for one per core.

    Raises:
      InputError: the bundle has no such graph.
    """
    return forward_of(open_windows(bundle, precision=precision, threads=threads))


def open_windows(bundle: Bundle, *, precision: str = "", threads: int = 0) -> onnxruntime.InferenceSession:
    """Return ONNX Runtime with the graph of complete windows; see `open_forward`."""
    return session(_graph(bundle, FORWARD, precision), threads=threads)


def forward_of(running: onnxruntime.InferenceSession) -> Forward:
    """Return the logits of a graph of complete windows as a function of its inputs, of which there may be others."""
    names = [each.name for each in running.get_inputs()]

    def forward(inputs: dict[str, np.ndarray]) -> np.ndarray:
        found: Any = running.run(["logits"], {name: inputs[name] for name in names})
        return found[0]

    return forward


def _graph(bundle: Bundle, kind: str, precision: str) -> pathlib.Path:
    """Return the file of a graph, STEP or FORWARD, in a precision or in the recommended one."""
    role = role_of(kind, precision or recommended(bundle.card))
    if role not in bundle.graphs:
        raise InputError(
            "the bundle has no such graph",
            where=bundle.folder,
            expected=" | ".join(sorted(name for name in bundle.graphs if name.startswith(kind))) or f"a {kind} graph",
            was=role,
            remedy="name a precision that it has, or export the run with this one",
        )
    return bundle.graphs[role]


def recommended(card: Mapping[str, Any]) -> str:
    """Return the precision that a card recommends: the smallest that predicts as well as float32."""
    return card.get("graphs", {}).get("chosen", PLAIN)


def generate(
    bundle: Bundle,
    prompt: Prompt | Sequence[Prompt],
    *,
    sampling: SamplingConfig,
    decoder: OnnxDecoder | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Generated:
    """Continue one or several prompts with a bundle; every event is valid on the live book of its path.

    Args:
      bundle: the bundle.
      prompt: real events and the state of the market after them, see `runs.exported.prompt_for`.
      sampling: how many paths and events, and how they are drawn.
      decoder: the network, see `open_decoder`; by default in the precision that the card recommends.
      on_progress: called from time to time with the smallest number of events in any path.

    Raises:
      InputError: see `generation.host.loop.generate`.
    """
    return generate_on_host(
        decoder or open_decoder(bundle),
        prompt,
        model=bundle.model,
        tokenizer=bundle.tokenizer,
        instrument=bundle.instrument,
        sampling=sampling,
        on_progress=on_progress,
    )

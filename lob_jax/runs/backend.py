"""Where a run generates: in JAX's compiled loop, or on the host with an exported graph."""

from collections.abc import Callable, Sequence
from typing import Any

from lob_jax.config.sections import generation_backend
from lob_jax.errors import InputError
from lob_jax.events.instrument import Instrument
from lob_jax.generation.generated import Generated
from lob_jax.generation.loop import generate as generate_by_jax
from lob_jax.generation.prompt import Prompt
from lob_jax.generation.settings import SamplingConfig
from lob_jax.runs.load import Run


def draw(
    run: Run,
    prompt: Prompt | Sequence[Prompt],
    *,
    instrument: Instrument,
    sampling: SamplingConfig,
    on_progress: Callable[[int], None] | None = None,
) -> Generated:
    """Continue prompts by the backend and the precision of a run's configuration.

    Raises:
      InputError: see `generation.loop.generate`; or ONNX Runtime is not installed.
    """
    how: dict[str, Any] = {"model": run.model, "tokenizer": run.tokenizer, "instrument": instrument}
    if generation_backend(run.config) == "jax":
        return generate_by_jax(run.params, prompt, **how, sampling=sampling, on_progress=on_progress)
    try:
        from lob_jax.export.decoder import OnnxDecoder
        from lob_jax.export.graphs import step_graph
        from lob_jax.export.quantize import quantized
    except ImportError as error:
        raise InputError(
            "this backend needs ONNX and ONNX Runtime, which are not installed",
            where="config.generate.backend",
            expected="an installation with the extra [export]",
            was=error,
            remedy='pip install -e ".[export]", or pass --config.generate.backend=jax',
        ) from error
    from lob_jax.generation.host.loop import generate as generate_on_host

    graph = quantized(step_graph(run.params, run.model), run.config.generate.precision)
    decoder = OnnxDecoder(graph.SerializeToString(), run.model)
    return generate_on_host(decoder, prompt, **how, sampling=sampling, on_progress=on_progress)

"""The table of `lob_jax.bench.train_step`."""

from typing import Any

OURS = "jax"  # the case of this package
MASKED = "jax, masked"  # the same with a mask of the next token; the others are PyTorch's


def table(figures: dict[str, Any]) -> list[str]:
    """Return the results as lines of text."""
    heads = ("tokens/s", "MFU", "step s", "fastest", "cpu s", "compile s", "peak MiB", "at start", "jax/it")
    lines = [*_headline(figures), f"{'case':<16}" + "".join(f"{head:>10}" for head in heads)]
    for name, case in figures["cases"].items():
        ratio = figures["ratios"].get(name)
        shown = [f"{case['tokens_per_s']:.0f}", f"{case['mfu']:.1%}"]
        shown += [f"{case[seconds]:.3f}" for seconds in ("step_s", "fastest_s", "cpu_s")]
        shown.append("-" if case["compile_s"] is None else f"{case['compile_s']:.1f}")
        shown += [f"{case[memory]:.0f}" for memory in ("peak_mib", "start_mib")]
        shown.append("-" if ratio is None else f"{ratio:.2f}")
        lines.append(f"{name:<16}" + "".join(f"{figure:>10}" for figure in shown))
    return [*lines, *_memory_lines(figures["cases"][OURS])]


def _headline(figures: dict[str, Any]) -> list[str]:
    cut = f"{figures['accumulation']} x {figures['batch']} windows of {figures['context']} tokens per step"
    lines = [
        f"{figures['size']}: {figures['parameters'] / 1e6:.1f}M parameters, {figures['dtype']}, {cut}, "
        f"{figures['devices']} x {figures['device']}",
        f"MFU against {figures['peak_flops'] / 1e12:.3f} Tflop/s, {figures['peak_flops_from']}",
    ]
    if figures["agreement"]:
        losses = figures["agreement"]
        lines.append(
            f"equal models: loss {losses['jax']:.6f}, PyTorch's {losses['torch']:.6f}, {losses['relative']:.1e} apart;"
            f" logits at most {losses['logits']:.1e} standard deviations apart (float32, no dropout)"
        )
    return lines


def _memory_lines(case: dict[str, Any]) -> list[str]:
    parts = ", ".join(f"{name.replace('_', ' ')} {size:.0f}" for name, size in case["step_memory_mib"].items())
    lines = [f"memory of our compiled step, per device, MiB: {parts}"]
    if case["device_peak_mib"] is not None:
        lines.append(f"peak of the fullest device, MiB: {case['device_peak_mib']:.0f}")
    return lines

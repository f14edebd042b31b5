"""The settings of an export."""

import dataclasses

from lob_jax.errors import InputError

PLAIN = "float32"
PRECISIONS = (PLAIN, "int8", "int8_blocks", "int4")  # float32 is always written, see `quantize.PRECISIONS`
OPSETS = (18, 20, 24)
FORMATS = ("onnx", "stablehlo", "saved_model")
NAME = r"letters, digits, _, - and ., not at the start"


def role_of(graph: str, precision: str) -> str:
    """Return the role in a bundle of a graph, "forward" or "step", in a precision."""
    return graph if precision == PLAIN else f"{graph}_{precision}"


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The section `export` of a configuration; there are no defaults.

    Attributes:
      formats: what a bundle holds beside the weights: ONNX graphs, StableHLO, a SavedModel of TensorFlow.
      precisions: further precisions of the graphs, beside float32.
      opset: the version of ONNX's operators.
      windows: number of validation windows on which each precision is measured.
      name: name of the bundle's folder in the run's folder.

    Raises:
      InputError: a value is out of range.
    """

    formats: tuple[str, ...]
    precisions: tuple[str, ...]
    opset: int
    windows: int
    name: str

    def __post_init__(self) -> None:
        for key, names, known in (("formats", self.formats, FORMATS), ("precisions", self.precisions, PRECISIONS)):
            unknown = [name for name in names if name not in known]
            _require(not unknown, key, known, unknown, "name some of these, by commas, or none")
        _require(self.opset in OPSETS, "opset", OPSETS, self.opset, "choose one of these; most runtimes read 18")
        _require(self.windows >= 1, "windows", "1 or more", self.windows, "raise it")
        simple = self.name.replace("_", "").replace("-", "").replace(".", "").isalnum() and self.name[0] != "."
        _require(simple, "name", f"a folder's name: {NAME}", self.name, "name it without a path")


def _require(holds: bool, key: str, expected: object, was: object, remedy: str) -> None:
    if not holds:
        raise InputError(
            "the configuration is invalid", where=f"config.export.{key}", expected=expected, was=was, remedy=remedy
        )

"""The versions of the package, of what it depends on, and of each metric."""

import dataclasses
import hashlib
import importlib.metadata
import pathlib
import platform

import lob_jax

PACKAGE = pathlib.Path(lob_jax.__file__).parent
DEPENDENCIES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "numba", "matplotlib")
GROUPS = {  # where metrics are defined, one module each
    "likelihood": "evaluation/metrics/*.py",
    "fidelity score": "evaluation/fidelity/scores/*.py",
    "fidelity measure": "evaluation/fidelity/measures/*.py",
    "direction": "evaluation/direction/scores.py",
    "forecaster": "forecasting/scores.py",
}
DIGITS = 12  # of a digest


@dataclasses.dataclass(frozen=True)
class MetricVersion:
    """The version of a metric.

    Attributes:
      name: name of its module.
      group: what it measures.
      version: numbers of the definitions in the module, such as "1"; "1" if it does not number them.
      digest: the beginning of the sha256 of the module, in hexadecimal.
    """

    name: str
    group: str
    version: str
    digest: str


def package_versions() -> dict[str, str]:
    """Return the versions of lob_jax, Python, and the packages whose numerics the results depend on."""
    installed = {name: _installed(name) for name in DEPENDENCIES}
    found = {name: version for name, version in installed.items() if version}
    return {"lob_jax": lob_jax.__version__, "Python": platform.python_version(), **found}


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def metric_versions() -> list[MetricVersion]:
    """Return the version of every module that defines metrics."""
    made = []
    for group, files in GROUPS.items():
        for path in sorted(PACKAGE.glob(files)):
            if not path.stem.startswith("_"):
                source = path.read_bytes()
                made.append(
                    MetricVersion(path.stem, group, _numbers(source), hashlib.sha256(source).hexdigest()[:DIGITS])
                )
    return made


def _numbers(source: bytes) -> str:
    """Return the distinct numbers that a module gives its definitions as `version=`; "1", the default, if none."""
    text = source.decode()
    numbers = {part.split(",")[0].split(")")[0].strip() for part in text.split("version=")[1:]}
    return ", ".join(sorted(number for number in numbers if number.isdigit())) or "1"

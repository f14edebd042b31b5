"""The model and its configuration, and the versions of everything that made the numbers."""

import json
from collections.abc import Mapping
from typing import Any

from lob_jax.errors import flat
from lob_jax.report.material import Material
from lob_jax.report.section import LeftOut, Section, Table, table_of
from lob_jax.report.versions import metric_versions, package_versions

MODEL, VERSIONS = "Model and configuration", "Versions"


def configuration(material: Material) -> Section | LeftOut:
    """Return the section with the complete configuration of the run."""
    config = material.get("config.json")
    if config is None:
        return LeftOut(MODEL, material.missing["config.json"])
    tables = tuple(_table(name, section) for name, section in config.items() if isinstance(section, Mapping))
    alone = {name: value for name, value in config.items() if not isinstance(value, Mapping)}
    text = f"{describe_model(config)} The tables have every value of the configuration."
    return Section(MODEL, (text,), (_table("run", alone), *tables))


def describe_model(config: Mapping[str, Any]) -> str:
    """Return one sentence about the shape of a model."""
    return f"A transformer of {shape_of(config)}, over {config['tokens']['kind']} tokens."


def shape_of(config: Mapping[str, Any]) -> str:
    """Return the shape of a model in words."""
    model = config["model"]
    kind = model["attention"]["kind"].replace("_", "-")
    shape = f"{model['n_layers']} layers x {model['d_model']} wide x {model['n_heads']} heads"
    return f"{shape}, {kind} attention, a context of {model['max_seq_length']:,} tokens"


def _table(name: str, values: Mapping[str, Any]) -> Table:
    rows = [
        (key, value if isinstance(value, str) and value else json.dumps(value)) for key, value in flat(values).items()
    ]
    return table_of(f"Configuration: {name}", ("key", "value"), rows)


def versions(material: Material) -> Section:
    """Return the section with the versions of the package, its dependencies and each metric."""
    config = material.get("config.json") or {}
    manifest = material.get("records/records.json") or {}
    made = [("this report", package_versions()["lob_jax"])]
    made += [("training (config.json)", config["version"])] if "version" in config else []
    made += [("records (records.json)", manifest["version"])] if "version" in manifest else []
    packages = [(name, version) for name, version in package_versions().items()]
    metrics = [(one.name, one.group, one.version, one.digest) for one in metric_versions()]
    text = (
        "A metric is identified by the number of its definition and by the beginning of the sha256 of its module, both"
        " of the code that wrote this report."
    )
    tables = (
        table_of("lob_jax", ("what it wrote", "version"), made),
        table_of("Packages", ("package", "version"), packages),
        table_of("Metrics", ("metric", "group", "version", "sha256 of its module"), metrics),
    )
    return Section(VERSIONS, (text,), tables)

"""The tables of the database of experiments, version 2; `migrations.py` brings earlier versions up to it.

Arrays are float64, little-endian, arm by arm in the order of the experiment. Texts of JSON are ASCII, with floats that
read back bit for bit.
"""

import sqlalchemy as sa

VERSION = 2
METADATA = sa.MetaData()
# SQLite numbers rows by itself in columns that are declared as INTEGER only.
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

SCHEMA_VERSION = sa.Table("schema_version", METADATA, sa.Column("version", sa.Integer, nullable=False))

EXPERIMENTS = sa.Table(
    "experiments",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("created_s", sa.Double, nullable=False),
    sa.Column("experiment", sa.Text, nullable=False),  # JSON of Experiment
)

# Ascending ids are the order of enrolment, since units of an experiment are written one after another.
UNITS = sa.Table(
    "units",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.name"), nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Column("enrolled", sa.Boolean, nullable=False),
    sa.Column("chance", sa.Double, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("events", NUMBER, nullable=False),  # kept, of all its outcomes
    sa.UniqueConstraint("experiment", "unit", name="units_once"),
)

OUTCOMES = sa.Table(
    "outcomes",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("unit_id", NUMBER, sa.ForeignKey("units.id"), nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("first", NUMBER, nullable=False),  # events of the unit that were kept before it
    sa.Column("events", NUMBER, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("arms", sa.Text, nullable=False),  # JSON: names of the arms that scored it, in the order of the arrays
    sa.Column("nats", sa.LargeBinary, nullable=False),  # [arms, events]
    sa.Column("brier", sa.LargeBinary, nullable=False),  # [arms, events]
    sa.Column("mean_nats", sa.LargeBinary, nullable=False),  # [arms], as it was answered
    sa.Column("mean_brier", sa.LargeBinary, nullable=False),  # [arms]
    sa.Column("seconds", sa.LargeBinary),  # [arms]; none in outcomes that version 1 kept
    sa.UniqueConstraint("unit_id", "outcome", name="outcomes_once"),
    sa.UniqueConstraint("unit_id", "first", name="outcomes_in_order"),
)

# Ascending ids are the order in which blocks were complete, since outcomes of an experiment are written one by one.
BLOCKS = sa.Table(
    "blocks",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.name"), nullable=False),
    sa.Column("unit_id", NUMBER, sa.ForeignKey("units.id"), nullable=False),
    sa.Column("number", NUMBER, nullable=False),  # of the block in its unit, from 0
    sa.Column("nats", sa.LargeBinary, nullable=False),  # [all arms], a row of Kept.nats_BA
    sa.Column("brier", sa.LargeBinary, nullable=False),  # [all arms], a row of Kept.brier_BA
    sa.UniqueConstraint("unit_id", "number", name="blocks_once"),
    sa.Index("blocks_in_order", "experiment", "id"),
)

REQUESTS = sa.Table(
    "requests",
    METADATA,
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.name"), primary_key=True),
    sa.Column("arm", sa.Text, primary_key=True),
    sa.Column("answered", NUMBER, nullable=False),
    sa.Column("slow", NUMBER, nullable=False),
    sa.Column("failed", NUMBER, nullable=False),
    sa.Column("refused", NUMBER, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
)

DECISIONS = sa.Table(
    "decisions",
    METADATA,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("experiment", sa.Text, sa.ForeignKey("experiments.name"), nullable=False, index=True),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("arm", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("because", sa.Text, nullable=False),
    sa.Column("at_s", sa.Double, nullable=False),
    sa.Column("known", sa.Text, nullable=False),  # JSON of the analysis at that time
)

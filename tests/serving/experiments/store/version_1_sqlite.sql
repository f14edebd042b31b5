-- The tables of version 1 of the schema in SQLite.

CREATE TABLE experiments (
  name TEXT NOT NULL,
  created_s DOUBLE NOT NULL,
  experiment TEXT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE schema_version (
  version INTEGER NOT NULL
);

CREATE TABLE decisions (
  id INTEGER NOT NULL,
  experiment TEXT NOT NULL,
  decision TEXT NOT NULL,
  arm TEXT NOT NULL,
  "by" TEXT NOT NULL,
  because TEXT NOT NULL,
  at_s DOUBLE NOT NULL,
  known TEXT NOT NULL,
  PRIMARY KEY (id),
  FOREIGN KEY(experiment) REFERENCES experiments (name)
);

CREATE INDEX ix_decisions_experiment ON decisions (experiment);

CREATE TABLE units (
  id INTEGER NOT NULL,
  experiment TEXT NOT NULL,
  unit TEXT NOT NULL,
  arm TEXT NOT NULL,
  enrolled BOOLEAN NOT NULL,
  chance DOUBLE NOT NULL,
  at_s DOUBLE NOT NULL,
  events INTEGER NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT units_once UNIQUE (experiment, unit),
  FOREIGN KEY(experiment) REFERENCES experiments (name)
);

CREATE TABLE outcomes (
  id INTEGER NOT NULL,
  unit_id INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  digest TEXT NOT NULL,
  first INTEGER NOT NULL,
  events INTEGER NOT NULL,
  at_s DOUBLE NOT NULL,
  arms TEXT NOT NULL,
  nats BLOB NOT NULL,
  brier BLOB NOT NULL,
  mean_nats BLOB NOT NULL,
  mean_brier BLOB NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT outcomes_once UNIQUE (unit_id, outcome),
  CONSTRAINT outcomes_in_order UNIQUE (unit_id, first),
  FOREIGN KEY(unit_id) REFERENCES units (id)
);

INSERT INTO schema_version VALUES (1);

-- The tables of version 1 of the schema in PostgreSQL.

CREATE TABLE experiments (
  name TEXT NOT NULL,
  created_s DOUBLE PRECISION NOT NULL,
  experiment TEXT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE schema_version (
  version INTEGER NOT NULL
);

CREATE TABLE decisions (
  id BIGSERIAL NOT NULL,
  experiment TEXT NOT NULL,
  decision TEXT NOT NULL,
  arm TEXT NOT NULL,
  by TEXT NOT NULL,
  because TEXT NOT NULL,
  at_s DOUBLE PRECISION NOT NULL,
  known TEXT NOT NULL,
  PRIMARY KEY (id),
  FOREIGN KEY(experiment) REFERENCES experiments (name)
);

CREATE INDEX ix_decisions_experiment ON decisions (experiment);

CREATE TABLE units (
  id BIGSERIAL NOT NULL,
  experiment TEXT NOT NULL,
  unit TEXT NOT NULL,
  arm TEXT NOT NULL,
  enrolled BOOLEAN NOT NULL,
  chance DOUBLE PRECISION NOT NULL,
  at_s DOUBLE PRECISION NOT NULL,
  events BIGINT NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT units_once UNIQUE (experiment, unit),
  FOREIGN KEY(experiment) REFERENCES experiments (name)
);

CREATE TABLE outcomes (
  id BIGSERIAL NOT NULL,
  unit_id BIGINT NOT NULL,
  outcome TEXT NOT NULL,
  digest TEXT NOT NULL,
  first BIGINT NOT NULL,
  events BIGINT NOT NULL,
  at_s DOUBLE PRECISION NOT NULL,
  arms TEXT NOT NULL,
  nats BYTEA NOT NULL,
  brier BYTEA NOT NULL,
  mean_nats BYTEA NOT NULL,
  mean_brier BYTEA NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT outcomes_once UNIQUE (unit_id, outcome),
  CONSTRAINT outcomes_in_order UNIQUE (unit_id, first),
  FOREIGN KEY(unit_id) REFERENCES units (id)
);

INSERT INTO schema_version VALUES (1);

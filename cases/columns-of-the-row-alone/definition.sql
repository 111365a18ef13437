-- A view may pass columns of the row through and compute from them, without any window.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant       VARCHAR,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  user_id,
  merchant,
  amount,
  event_time,
  amount > 100 AS dear,
  abs(amount) AS size,
  CAST(amount AS DOUBLE PRECISION) AS amount_double,
  upper(merchant) AS shouted,
  merchant IS NULL AS no_merchant
FROM transactions;

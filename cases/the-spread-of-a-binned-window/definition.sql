-- Variances merge from bins without losing a bit: they are those of the events.
-- judges: duckdb, postgres
-- judges see: the events up to each request

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2),
  x              DOUBLE PRECISION,
  flag           BOOLEAN
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  var_pop(amount) OVER hour AS v_pop,
  var_samp(amount) OVER hour AS v_samp,
  stddev_pop(x) OVER hour AS s_pop,
  stddev_samp(x) OVER hour AS s_samp
FROM transactions
WINDOW
  hour AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

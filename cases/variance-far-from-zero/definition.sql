-- Numbers a hair apart and far from zero: the textbook formula in doubles loses the variance, exact
-- arithmetic does not.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  x              DOUBLE PRECISION
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  var_pop(x) OVER hour AS v_pop,
  var_samp(x) OVER hour AS v_samp,
  stddev_pop(x) OVER hour AS s_pop,
  stddev_samp(x) OVER hour AS s_samp
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

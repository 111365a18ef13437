-- A sample variance needs two values, a population variance one.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  var_pop(amount) OVER hour AS v_pop,
  var_samp(amount) OVER hour AS v_samp,
  stddev_pop(amount) OVER hour AS s_pop,
  stddev(amount) OVER hour AS s_samp
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- Variance and standard deviation, of the population and of the sample: 2, 4, 6 and 8 have the
-- population variance 5.
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
  variance(amount) OVER hour AS v,
  stddev_pop(amount) OVER hour AS s_pop,
  stddev_samp(amount) OVER hour AS s_samp,
  stddev(amount) OVER hour AS s
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- FILTER narrows each aggregate for itself, over one and the same window.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  status         VARCHAR,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) FILTER (WHERE status = 'ok') OVER hour AS n,
  sum(amount) FILTER (WHERE status = 'ok') OVER hour AS total,
  avg(amount) FILTER (WHERE status = 'ok') OVER hour AS mean,
  min(amount) FILTER (WHERE status = 'ok') OVER hour AS least,
  max(amount) FILTER (WHERE status = 'ok') OVER hour AS greatest,
  stddev_pop(amount) FILTER (WHERE status = 'ok') OVER hour AS spread,
  sum(amount) OVER hour AS all_of_it
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

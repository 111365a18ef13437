-- count, sum, avg, min, max, bool_and and bool_or from partials, with sealed bins and raw events
-- together.
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
  count(*) OVER hour AS n,
  count(amount) OVER hour AS n_amounts,
  sum(amount) OVER hour AS total,
  avg(amount) OVER hour AS mean,
  min(amount) OVER hour AS least,
  max(amount) OVER hour AS greatest,
  sum(x) OVER hour AS sum_x,
  bool_and(flag) OVER hour AS all_flags,
  bool_or(flag) OVER hour AS any_flag
FROM transactions
WINDOW
  hour AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

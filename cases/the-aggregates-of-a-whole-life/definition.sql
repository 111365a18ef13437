-- One partial holds count, sum, avg, extremes, spread and truths of all that ever was.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2),
  flag           BOOLEAN
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER life AS n,
  count(amount) OVER life AS n_amounts,
  sum(amount) OVER life AS total,
  avg(amount) OVER life AS mean,
  min(amount) OVER life AS least,
  max(amount) OVER life AS greatest,
  stddev_samp(amount) OVER life AS spread,
  bool_or(flag) OVER life AS ever,
  bool_and(flag) OVER life AS always
FROM transactions
WINDOW
  life AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

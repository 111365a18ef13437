-- Small amounts first, then a large one: the least and the greatest of ten minutes, and how many
-- were below two.
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
  count(*) FILTER (WHERE amount < 2) OVER before AS small_before,
  amount > 100 AND count(*) FILTER (WHERE amount < 2) OVER before >= 3 AS tested,
  max(amount) OVER ten - min(amount) OVER ten AS span
FROM transactions
WINDOW
  ten AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW),
  before AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING);

-- A stolen card wanders: merchants and countries of a day.
-- judges: duckdb (postgres: no DISTINCT in windows)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant_id    BIGINT,
  country        VARCHAR
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(DISTINCT merchant_id) OVER day AS merchants,
  count(DISTINCT country) OVER day AS countries
FROM transactions
WINDOW
  day AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);

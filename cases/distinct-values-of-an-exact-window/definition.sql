-- count(DISTINCT x) counts values, not rows; NULL is no value; a value that left the hour counts no
-- more.
-- judges: duckdb (postgres: no DISTINCT in windows)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant_id    BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(DISTINCT merchant_id) OVER hour AS merchants
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- The country differs from that of the transaction before, and how long ago that was.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  country        VARCHAR
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  country <> lag(country) OVER past AS country_changed,
  extract(epoch FROM event_time - lag(event_time) OVER past) / 3600 AS hours_since
FROM transactions
WINDOW
  past AS (PARTITION BY user_id ORDER BY event_time, transaction_id);

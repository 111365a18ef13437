-- An event for which an argument has no value is in no window of that key, not even in a count; in
-- windows by another key it counts. A row that is such an event is UNKNOWN there.
-- judges: none (a division by zero ends PostgreSQL's query, and is an infinity to DuckDB)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant_id    BIGINT,
  parts          BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER user_hour AS n_user,
  sum(100 / parts) OVER user_hour AS part_sizes,
  count(*) OVER merchant_hour AS n_merchant
FROM transactions
WINDOW
  user_hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  merchant_hour AS (PARTITION BY merchant_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- min and max of texts by their bytes, of times, of dates, of decimals.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  word           VARCHAR,
  seen           TIMESTAMP,
  day            DATE,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  min(word) OVER hour AS min_word,
  max(word) OVER hour AS max_word,
  min(seen) OVER hour AS min_seen,
  max(seen) OVER hour AS max_seen,
  min(day) OVER hour AS min_day,
  max(day) OVER hour AS max_day,
  min(amount) OVER hour AS min_amount,
  max(amount) OVER hour AS max_amount
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

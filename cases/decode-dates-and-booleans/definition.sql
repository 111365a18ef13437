-- Dates are YYYY-MM-DD, booleans true or false; impossible ones are dead letters.
-- judges: none (decoding is ours)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  day            DATE,
  flag           BOOLEAN
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  min(day) OVER hour AS first_day,
  max(day) OVER hour AS last_day,
  bool_or(flag) OVER hour AS any_flag,
  count(*) OVER hour AS n
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

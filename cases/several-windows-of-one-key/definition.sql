-- One read of a user serves a minute, an hour, a day and a delayed window.
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
  count(*) OVER a_minute AS n_minute,
  count(*) OVER an_hour AS n_hour,
  count(*) OVER a_day AS n_day,
  count(*) OVER hour_before AS n_hour_before
FROM transactions
WINDOW
  a_minute AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW),
  an_hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  a_day AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW),
  hour_before AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '2 hours' PRECEDING AND INTERVAL '1 hour' PRECEDING);

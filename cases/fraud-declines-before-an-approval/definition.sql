-- Declined attempts of the last ten minutes before this one, and how many of the last three were
-- declined.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  status         VARCHAR
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) FILTER (WHERE status = 'declined') OVER just_before AS declines,
  count(*) FILTER (WHERE status = 'declined') OVER last_three AS declines_of_three,
  lag(status) OVER past = 'declined' AS last_was_declined
FROM transactions
WINDOW
  just_before AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING),
  last_three AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING),
  past AS (PARTITION BY user_id ORDER BY event_time, transaction_id);

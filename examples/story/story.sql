-- The features of the story: what a user did in the last hour and the last day, over the table of
-- transactions that every payment system has. `run` tells the story.

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,   -- the event's identity: the same id twice is the same event
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT NOT NULL,
  amount         DECIMAL(12,2) NOT NULL,
  status         VARCHAR
) WITH (event_time = 'event_time', lateness = '1 hour');

CREATE VIEW fraud AS
SELECT
  transaction_id,
  amount,
  count(*)    OVER user_hour                                AS user_transaction_count_last_hour,
  sum(amount) OVER user_day                                 AS user_amount_last_day,
  count(*) FILTER (WHERE status = 'declined') OVER user_day AS user_declines_last_day
FROM transactions
WINDOW
  user_hour AS (PARTITION BY user_id ORDER BY event_time
                RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  user_day  AS (PARTITION BY user_id ORDER BY event_time
                RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);

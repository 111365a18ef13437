-- What the takeover after a backfill is judged by: exact windows, bins and lifetimes, each of which
-- would show an event that is missing or counts twice.

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT NOT NULL,
  merchant_id    BIGINT NOT NULL,
  amount         DECIMAL(12,2) NOT NULL
) WITH (event_time = 'event_time', lateness = '1 hour');

CREATE VIEW users AS
SELECT transaction_id,
  count(*)    OVER month AS n_month,
  sum(amount) OVER month AS amount_month,
  count(*)    OVER ever  AS n_ever,
  sum(amount) OVER ever  AS amount_ever
FROM transactions
WINDOW month AS (PARTITION BY user_id ORDER BY event_time
                 RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW),
       ever  AS (PARTITION BY user_id ORDER BY event_time
                 RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW);

CREATE VIEW merchants AS
SELECT transaction_id,
  count(*)    OVER day AS n_day,
  sum(amount) OVER day AS amount_day
FROM transactions
WINDOW day AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '10 minutes', event_time)
               RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW);

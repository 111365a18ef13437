-- Card transactions and the features of a fraud model over them: the definitions that `trueup init`
-- and `trueup demo` start from, and the streams that `trueup simulate` makes.

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,   -- the event's identity: the same id twice is the same event
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT NOT NULL,
  card_id        BIGINT NOT NULL,
  device_id      BIGINT,
  merchant_id    BIGINT NOT NULL,
  country        VARCHAR,
  amount         DECIMAL(12,2) NOT NULL,
  status         VARCHAR
) WITH (event_time = 'event_time', lateness = '1 hour');

-- That a transaction was a fraud becomes known days later. So it is a stream of its own, timed when
-- it became known: a window over it is honest online and in training alike.
CREATE TABLE fraud_reports (
  transaction_id BIGINT PRIMARY KEY,   -- the transaction that was reported
  event_time     TIMESTAMP NOT NULL,   -- when it was reported
  user_id        BIGINT NOT NULL,
  card_id        BIGINT NOT NULL,
  merchant_id    BIGINT NOT NULL
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW fraud AS
SELECT
  transaction_id,
  amount,
  -- How fast, how much, how often refused, and where, by the user's own last hour and day.
  count(*)    OVER user_hour                                AS user_transaction_count_last_hour,
  sum(amount) OVER user_day                                 AS user_amount_last_day,
  count(*) FILTER (WHERE status = 'declined') OVER user_day AS user_declines_last_day,
  count(DISTINCT merchant_id) OVER user_day                 AS user_merchants_last_day,
  count(DISTINCT country) OVER user_day                     AS user_countries_last_day,
  -- This amount against what the user is used to.
  max(amount) OVER user_month                               AS user_max_amount_last_month,
  amount / nullif(avg(amount) OVER user_month, 0)           AS amount_vs_usual,
  -- A card that is being tested; a device that goes through many users' cards.
  count(*)    OVER card_minutes                             AS card_transactions_last_10_minutes,
  count(DISTINCT user_id) OVER device_day                   AS device_users_last_day,
  -- A merchant is a hot key: bins of a minute bound its memory.
  count(*)    OVER merchant_hour                            AS merchant_transactions_last_hour
FROM transactions
WINDOW
  user_hour     AS (PARTITION BY user_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  user_day      AS (PARTITION BY user_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW),
  user_month    AS (PARTITION BY user_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW),
  card_minutes  AS (PARTITION BY card_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW),
  device_day    AS (PARTITION BY device_id ORDER BY event_time
                    RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW),
  merchant_hour AS (PARTITION BY merchant_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
                    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- What reported frauds say about this merchant and this card.
CREATE VIEW fraud_history AS
SELECT
  transaction_id,
  (SELECT count(*) FROM fraud_reports
   WHERE fraud_reports.merchant_id = transactions.merchant_id
     AND fraud_reports.event_time BETWEEN transactions.event_time - INTERVAL '30 days'
                                      AND transactions.event_time) AS merchant_frauds_last_month,
  (SELECT count(*) FROM fraud_reports
   WHERE fraud_reports.card_id = transactions.card_id
     AND fraud_reports.event_time BETWEEN transactions.event_time - INTERVAL '90 days'
                                      AND transactions.event_time) AS card_frauds_last_quarter
FROM transactions;

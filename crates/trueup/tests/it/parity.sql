-- The 14 features that the Fraud Detection Handbook publishes, and others of the same customers and
-- terminals: every kind of window and most aggregates.
CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  customer_id    BIGINT,
  terminal_id    BIGINT,
  amount         DOUBLE,
  is_fraud       INTEGER,
  known_at       TIMESTAMP
) WITH (event_time = 'event_time', known_at = 'known_at');

CREATE VIEW handbook AS
SELECT
  transaction_id, event_time, customer_id, amount,
  CASE WHEN extract(dow FROM event_time) IN (0, 6) THEN 1 ELSE 0 END AS TX_DURING_WEEKEND,
  CASE WHEN extract(hour FROM event_time) <= 6 THEN 1 ELSE 0 END     AS TX_DURING_NIGHT,
  count(*)    OVER c1  AS CUSTOMER_ID_NB_TX_1DAY_WINDOW,
  avg(amount) OVER c1  AS CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW,
  count(*)    OVER c7  AS CUSTOMER_ID_NB_TX_7DAY_WINDOW,
  avg(amount) OVER c7  AS CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW,
  count(*)    OVER c30 AS CUSTOMER_ID_NB_TX_30DAY_WINDOW,
  avg(amount) OVER c30 AS CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW,
  count(*)    OVER t1  AS TERMINAL_ID_NB_TX_1DAY_WINDOW,
  coalesce(avg(is_fraud) OVER t1, 0)  AS TERMINAL_ID_RISK_1DAY_WINDOW,
  count(*)    OVER t7  AS TERMINAL_ID_NB_TX_7DAY_WINDOW,
  coalesce(avg(is_fraud) OVER t7, 0)  AS TERMINAL_ID_RISK_7DAY_WINDOW,
  count(*)    OVER t30 AS TERMINAL_ID_NB_TX_30DAY_WINDOW,
  coalesce(avg(is_fraud) OVER t30, 0) AS TERMINAL_ID_RISK_30DAY_WINDOW
FROM transactions
WINDOW
  c1  AS (PARTITION BY customer_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '86399.999999 seconds' PRECEDING AND CURRENT ROW),
  c7  AS (PARTITION BY customer_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '604799.999999 seconds' PRECEDING AND CURRENT ROW),
  c30 AS (PARTITION BY customer_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '2591999.999999 seconds' PRECEDING AND CURRENT ROW),
  t1  AS (PARTITION BY terminal_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '691199.999999 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING),
  t7  AS (PARTITION BY terminal_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '1209599.999999 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING),
  t30 AS (PARTITION BY terminal_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '3196799.999999 seconds' PRECEDING AND INTERVAL '7 days' PRECEDING);

CREATE VIEW habits AS
SELECT
  transaction_id,
  count(DISTINCT terminal_id) OVER c7   AS terminals_7d,
  min(amount) OVER c30                  AS least_30d,
  max(amount) OVER c30                  AS greatest_30d,
  stddev_samp(amount) OVER c30          AS spread_30d,
  stddev_pop(amount) OVER c7            AS spread_7d,
  amount / nullif(avg(amount) OVER c30_before, 0) AS against_usual,
  sum(amount) FILTER (WHERE amount > 100) OVER c7 AS large_7d,
  approx_percentile_cont(amount, 0.9) OVER c30    AS high_30d,
  first_value(terminal_id) OVER c1      AS first_terminal_1d,
  lag(amount) OVER past                 AS last_amount,
  extract(epoch FROM event_time) - extract(epoch FROM lag(event_time) OVER past) AS seconds_since,
  array_agg(terminal_id) OVER last_three AS last_terminals,
  count(*) OVER customer_life           AS transactions_ever,
  max(amount) OVER customer_life        AS greatest_ever,
  count(*) OVER t1h                     AS terminal_1h,
  stddev_samp(amount) OVER t1d          AS terminal_spread_1d,
  count(DISTINCT customer_id) OVER t7x  AS terminal_customers_7d
FROM transactions
WINDOW
  c1  AS (PARTITION BY customer_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW),
  c7  AS (PARTITION BY customer_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW),
  c30 AS (PARTITION BY customer_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW),
  c30_before AS (PARTITION BY customer_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '30 days' PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING),
  past AS (PARTITION BY customer_id ORDER BY event_time, transaction_id),
  last_three AS (PARTITION BY customer_id ORDER BY event_time, transaction_id
          ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING),
  customer_life AS (PARTITION BY customer_id ORDER BY event_time
          RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
  t1h AS (PARTITION BY terminal_id ORDER BY date_bin(INTERVAL '1 minute', event_time)
          RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  t1d AS (PARTITION BY terminal_id ORDER BY date_bin(INTERVAL '1 hour', event_time)
          RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW),
  t7x AS (PARTITION BY terminal_id ORDER BY event_time
          RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW);

-- The 14 features that the Fraud Detection Handbook publishes, as one query. Its frames are (t - W, t].
CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  customer_id    BIGINT,
  terminal_id    BIGINT,
  amount         DOUBLE,
  is_fraud       INTEGER
) WITH (event_time = 'event_time');

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

-- The share of a merchant's transactions that were reported as fraud, of a window that ended a week
-- ago. Reports are a stream of their own, timed when they became known.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant_id    BIGINT
) WITH (event_time = 'event_time', lateness = '30 days');

CREATE TABLE frauds (
  report_id   BIGINT PRIMARY KEY,
  event_time  TIMESTAMP NOT NULL,
  merchant_id BIGINT
) WITH (event_time = 'event_time', lateness = '30 days');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER settled AS settled_n,
  CAST((SELECT count(*) FROM frauds
   WHERE frauds.merchant_id = transactions.merchant_id
     AND frauds.event_time BETWEEN transactions.event_time - INTERVAL '30 days'
     AND transactions.event_time - INTERVAL '7 days') AS DOUBLE PRECISION)
   / nullif(count(*) OVER settled, 0) AS risk
FROM transactions
WINDOW
  settled AS (PARTITION BY merchant_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '30 days' PRECEDING AND INTERVAL '7 days' PRECEDING);

-- Has this user ever paid at this merchant before?
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant_id    BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  count(*) OVER before = 0 AS first_time_here,
  count(*) OVER before AS times_before
FROM transactions
WINDOW
  before AS (PARTITION BY user_id, merchant_id ORDER BY event_time
    RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL '0.000001 seconds' PRECEDING);

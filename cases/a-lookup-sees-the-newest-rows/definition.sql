-- Without a row the newest event is one row back: ROWS 2 PRECEDING sees the two newest, lag the
-- newest.
-- judges: none (no row is asked about, only a key and a time)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  array_agg(amount) OVER three AS last_amounts,
  lag(amount) OVER past AS last_amount,
  lag(amount, 2) OVER past AS last_but_one,
  count(*) OVER before AS n
FROM transactions
WINDOW
  three AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 2 PRECEDING AND CURRENT ROW),
  past AS (PARTITION BY user_id ORDER BY event_time, transaction_id),
  before AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING);

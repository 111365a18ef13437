-- A subquery over the view's own stream holds the row itself, as if it were in the table: once,
-- delivered or not.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  t.transaction_id,
  (SELECT count(*) FROM transactions AS u
   WHERE u.user_id = t.user_id AND u.merchant_id = t.merchant_id
     AND u.event_time BETWEEN t.event_time - INTERVAL '1 day' AND t.event_time) AS here
FROM transactions AS t;

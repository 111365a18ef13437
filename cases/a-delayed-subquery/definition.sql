-- A subquery whose window ends before the row: what was reported at least a week ago.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE TABLE reports (
  report_id  BIGINT PRIMARY KEY,
  event_time TIMESTAMP NOT NULL,
  user_id    BIGINT
) WITH (event_time = 'event_time', lateness = '10 days');

CREATE VIEW v AS
SELECT
  transaction_id,
  (SELECT count(*) FROM reports
   WHERE reports.user_id = transactions.user_id
     AND reports.event_time BETWEEN transactions.event_time - INTERVAL '30 days'
     AND transactions.event_time - INTERVAL '7 days') AS settled_reports
FROM transactions;

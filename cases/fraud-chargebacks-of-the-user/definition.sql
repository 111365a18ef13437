-- Chargebacks are a stream, timed when they arrived: count, and money lost, ever and in ninety
-- days.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE TABLE chargebacks (
  chargeback_id BIGINT PRIMARY KEY,
  event_time    TIMESTAMP NOT NULL,
  user_id       BIGINT,
  amount        DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  (SELECT count(*) FROM chargebacks
   WHERE chargebacks.user_id = transactions.user_id
     AND chargebacks.event_time <= transactions.event_time) AS ever,
  (SELECT sum(chargebacks.amount) FROM chargebacks
   WHERE chargebacks.user_id = transactions.user_id
     AND chargebacks.event_time BETWEEN transactions.event_time - INTERVAL '90 days'
     AND transactions.event_time) AS lost
FROM transactions;

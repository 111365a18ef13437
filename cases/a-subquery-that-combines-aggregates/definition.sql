-- A subquery may compute from several aggregates: the share of failed logins.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE TABLE logins (
  login_id   BIGINT PRIMARY KEY,
  event_time TIMESTAMP NOT NULL,
  user_id    BIGINT,
  ok         BOOLEAN,
  device     VARCHAR
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  (SELECT CAST(count(*) FILTER (WHERE logins.ok = false) AS DOUBLE PRECISION)
     / nullif(count(*), 0) FROM logins
   WHERE logins.user_id = transactions.user_id
     AND logins.event_time BETWEEN transactions.event_time - INTERVAL '1 hour'
     AND transactions.event_time) AS failed_share
FROM transactions;

-- Failed logins of half an hour before a payment, and seconds since the last good one.
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
  (SELECT count(*) FROM logins
   WHERE logins.user_id = transactions.user_id
     AND logins.event_time BETWEEN transactions.event_time - INTERVAL '30 minutes'
     AND transactions.event_time
     AND logins.ok = false) AS failed_logins,
  extract(epoch FROM event_time - (SELECT max(logins.event_time) FROM logins
   WHERE logins.user_id = transactions.user_id
     AND logins.event_time BETWEEN transactions.event_time - INTERVAL '1 day'
     AND transactions.event_time
     AND logins.ok = true)) AS seconds_since_login
FROM transactions;

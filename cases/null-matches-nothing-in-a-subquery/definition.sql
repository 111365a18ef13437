-- A correlated subquery joins by =, and NULL equals nothing: a row without a user has no logins,
-- not even those without a user.
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
  count(*) OVER hour AS n,
  (SELECT count(*) FROM logins
   WHERE logins.user_id = transactions.user_id
     AND logins.event_time BETWEEN transactions.event_time - INTERVAL '1 hour'
     AND transactions.event_time) AS logins_last_hour
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

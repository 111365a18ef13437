-- Transactions and logins each have a feature set, and each looks at the other.
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
     AND logins.event_time BETWEEN transactions.event_time - INTERVAL '1 hour'
     AND transactions.event_time) AS logins
FROM transactions;

CREATE VIEW w AS
SELECT
  login_id,
  count(*) OVER hour AS logins,
  (SELECT sum(transactions.amount) FROM transactions
   WHERE transactions.user_id = logins.user_id
     AND transactions.event_time BETWEEN logins.event_time - INTERVAL '1 hour'
     AND logins.event_time) AS spent
FROM logins
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

-- A view of user and merchant windows is looked up by both keys; another stream joins by them too.
-- judges: none (no row is asked about, only a key and a time)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant_id    BIGINT,
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
  count(*) OVER of_user AS n_user,
  count(*) OVER of_merchant AS n_merchant,
  count(*) OVER here AS n_here,
  (SELECT count(*) FROM logins
   WHERE logins.user_id = transactions.user_id
     AND logins.event_time BETWEEN transactions.event_time - INTERVAL '1 hour'
     AND transactions.event_time) AS logins
FROM transactions
WINDOW
  of_user AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  of_merchant AS (PARTITION BY merchant_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  here AS (PARTITION BY user_id, merchant_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant_id    BIGINT,
  amount         DECIMAL(12,2),
  fee            DOUBLE,
  status         VARCHAR,
  online         BOOLEAN,
  opened         DATE,
  email          VARCHAR
) WITH (event_time = 'event_time', lateness = '1 hour');

CREATE TABLE logins (
  login_id VARCHAR PRIMARY KEY,
  at       TIMESTAMP NOT NULL,
  user_id  BIGINT,
  device   VARCHAR,
  failed   BOOLEAN
) WITH (event_time = 'at');

-- alone
CREATE TABLE s (
  id BIGINT PRIMARY KEY, t TIMESTAMP
) WITH (event_time = 't', latenes = '1 hour');
CREATE VIEW v AS SELECT id FROM s;

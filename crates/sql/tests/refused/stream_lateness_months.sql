-- alone
CREATE TABLE s (
  id BIGINT PRIMARY KEY, t TIMESTAMP
) WITH (event_time = 't', lateness = '1 month');
CREATE VIEW v AS SELECT id FROM s;

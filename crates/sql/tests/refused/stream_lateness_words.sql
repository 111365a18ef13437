-- alone
CREATE TABLE s (
  id BIGINT PRIMARY KEY, t TIMESTAMP
) WITH (event_time = 't', lateness = 'a while');
CREATE VIEW v AS SELECT id FROM s;

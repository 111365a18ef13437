-- alone
CREATE TABLE s (
  id BIGINT PRIMARY KEY, t TIMESTAMP
) WITH (event_time = 't', event_time = 't');
CREATE VIEW v AS SELECT id FROM s;

-- alone
CREATE TABLE s (
  id BIGINT, t TIMESTAMP, PRIMARY KEY (id, t)
) WITH (event_time = 't');
CREATE VIEW v AS SELECT id FROM s;

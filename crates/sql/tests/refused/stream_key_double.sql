-- alone
CREATE TABLE s (
  id DOUBLE PRIMARY KEY, t TIMESTAMP
) WITH (event_time = 't');
CREATE VIEW v AS SELECT id FROM s;

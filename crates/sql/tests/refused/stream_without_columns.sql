-- alone
CREATE TABLE s () WITH (event_time = 't');
CREATE VIEW v AS SELECT 1 AS x FROM s;

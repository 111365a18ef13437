CREATE VIEW v AS
SELECT (SELECT count(*) FROM logins l
        WHERE l.at <= t.event_time) AS n
FROM transactions t;

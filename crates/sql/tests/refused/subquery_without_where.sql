CREATE VIEW v AS SELECT (SELECT count(*) FROM logins) AS n FROM transactions;

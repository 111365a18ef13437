CREATE VIEW v AS SELECT a FROM (SELECT amount + 1 AS a FROM transactions) t;

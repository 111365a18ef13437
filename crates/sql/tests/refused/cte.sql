CREATE VIEW v AS
WITH x AS (SELECT * FROM transactions) SELECT amount FROM x;

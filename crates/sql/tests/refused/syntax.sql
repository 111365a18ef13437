CREATE VIEW v AS
SELECT amount AS AS x FROM transactions;

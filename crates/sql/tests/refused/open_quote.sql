CREATE VIEW v AS SELECT 'abc AS x FROM transactions;

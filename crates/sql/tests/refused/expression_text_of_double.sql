CREATE VIEW v AS
SELECT 'fee ' || CAST(fee AS VARCHAR) AS label FROM transactions;

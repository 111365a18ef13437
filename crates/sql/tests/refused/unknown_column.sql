CREATE VIEW v AS SELECT amuont FROM transactions;

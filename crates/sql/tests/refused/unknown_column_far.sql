CREATE VIEW v AS SELECT latitude FROM transactions;

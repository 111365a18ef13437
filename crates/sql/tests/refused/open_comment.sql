CREATE VIEW v AS SELECT amount /* what FROM transactions;

"""Rows of the op table (tests/op_table.py) by topic; row.py says what a row is."""

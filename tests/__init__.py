"""The tests, a package so that table, oracles and properties can be imported by all of them."""

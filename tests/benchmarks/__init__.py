"""Benchmarks: run by hand, never by pytest; every claim of speed in this project comes from one of these."""

"""Measurements. `make bench` runs all, `make bench ARGS=parked` one; raw numbers are kept in results/."""

"""Decide births. Pure: no files, network or clock; every random stream is an argument."""

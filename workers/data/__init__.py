"""Readers of data sets in their standard layouts."""

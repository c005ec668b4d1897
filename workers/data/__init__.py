"""Readers for data sets in their standard layouts."""

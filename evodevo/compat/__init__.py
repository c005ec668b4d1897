"""Run scripts written for other libraries."""

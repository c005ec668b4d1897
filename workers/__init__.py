"""The code that runs on Dask workers; the only package that imports torch."""

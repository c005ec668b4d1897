"""Everything that runs on a Dask worker. torch lives here and nowhere else."""

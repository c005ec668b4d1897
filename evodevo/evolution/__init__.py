"""Who is born. Pure: no files, no network, no clock; every random stream is an argument."""

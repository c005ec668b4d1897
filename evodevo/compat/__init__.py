"""Scripts that were written for other libraries, run by evodevo."""

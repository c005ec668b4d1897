"""What is true about one run, and how it moves on."""

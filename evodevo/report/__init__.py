"""What a person looks at afterwards: tables, plots, schedules."""

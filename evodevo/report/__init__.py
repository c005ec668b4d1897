"""Tables, plots, schedules and pages made from a run's history."""

"""The status: what became of each booking, what is remembered of it, and how people see it."""

"""What scanners, projects and people used over days, weeks and months: docs/usage.md says what counts as what."""

"""Past days: what became of each booking, by the history; as pages that are made once and kept, and for a search."""

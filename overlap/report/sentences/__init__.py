"""What each figure shows in this study, one sentence each, computed from the tables, and whether chance could do it."""

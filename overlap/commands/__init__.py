"""The verbs, by what they are for; each imports what is heavy inside itself."""

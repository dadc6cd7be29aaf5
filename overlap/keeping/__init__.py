"""What a store keeps and for how long: every kind of object it may hold, what refers to what, and what may go."""

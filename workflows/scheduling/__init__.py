"""Which lease goes where next: decisions on plain objects, without Ray, so that a simulator can drive them."""

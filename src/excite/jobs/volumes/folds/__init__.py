"""Networks trained fold by fold, and what they say together."""

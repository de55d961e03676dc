"""Controlled comparisons: arms that differ in one named thing, trained on several seeds, compared and ranked."""

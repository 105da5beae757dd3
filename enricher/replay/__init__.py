"""The same pipeline over a bounded range of the input: what is selected, how it is bounded, how its plan is kept."""

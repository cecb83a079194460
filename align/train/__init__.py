"""Training: what a recipe is checked with is torch-free, everything else loads torch and is imported where it runs."""

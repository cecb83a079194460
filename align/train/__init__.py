"""Training: `settings` and `arguments` are torch-free, everything else loads torch and is imported where it runs."""

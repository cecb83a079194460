"""One file a stage kind: a Config, a VERSION, the OUTPUTS it leaves, and run(): read → call the library → write."""

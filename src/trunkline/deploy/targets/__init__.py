"""What `trunkline render` writes of conf/deploy for other programs: a module and a folder for each target."""

"""Who runs tasks: this process, or the machines of a cluster. Files of a shared folder are all that tasks exchange."""

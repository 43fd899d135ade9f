"""What the subcommands of ``fedbench`` do, by what they are about."""

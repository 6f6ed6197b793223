"""One module a command. What a command needs is imported when it runs: each start pays for its own only."""

"""The pure part: from a frame's bytes to the records that may be written. No I/O, clock, randomness or logging."""

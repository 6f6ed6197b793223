"""How fast it is, measured beside what it is compared with, on a real local broker. Run by ``make bench``."""

"""The thin part: sockets, files, Kafka, the registry. Foreign errors are translated here."""

"""Binance USDⓈ-M futures market streams to Kafka as Avro: exact, exactly once, with no silent gap."""

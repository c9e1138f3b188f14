"""MQTT 3.1, 3.1.1 and 5.0, sans-IO: server role for the broker, client role for tests and links."""

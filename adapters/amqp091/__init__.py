"""AMQP 0-9-1 in RabbitMQ's dialect, sans-IO.

`server.ServerConnection` takes a client's bytes and yields the events of `events`; `client` is the
other side, as far as tests and links need it. Specification: amqp0-9-1.pdf and its XML (as pamqp
has them), RabbitMQ's errata and protocol extensions. `tables`, `properties` and `methods` are the
codec of values, `codec` the fast path of the frequent frames, `channel` what one channel remembers.
"""

"""The network: listeners, TLS, WebSocket, one driver for all legacy protocols, and an HTTP server.

`listener.Listener` is the way in: it binds an address and makes a connection for each client.
"""

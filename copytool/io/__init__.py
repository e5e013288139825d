"""The only layer with sockets and clocks: capture, send, link transport, control socket, event loop."""

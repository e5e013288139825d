"""The mirror engine, without sockets or clocks: captured segments and response records in, packets out."""

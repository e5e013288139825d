"""The copy-intercept protocol, without sockets: frames, the two ends' state machines, response records."""

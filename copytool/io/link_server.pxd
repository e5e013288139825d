"""cdefs for link_server.py"""

cimport cython

from ..link.connection cimport ServerEnd


cdef class PeerConnection:
    cdef public object channel
    cdef public str host
    cdef public str name
    cdef public ServerEnd end
    cdef public bint blocked
    cdef public bint welcomed
    cdef object _server

    cpdef ServerEnd _make_end(self, double now)  # subclasses need not be compiled
    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)

    @cython.locals(bodies=list)
    cpdef on_ready(self, events)

    @cython.locals(was_blocked=bint)
    cpdef after_io(self)


cdef class CopyConnection(PeerConnection):
    pass

"""cdefs for link_server.py"""

cimport cython

from ..link.connection cimport InterceptEnd


cdef class PeerConnection:
    cdef public object channel
    cdef public str host
    cdef public str name
    cdef public InterceptEnd end
    cdef public bint blocked
    cdef public bint welcomed
    cdef object _server

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)
    cpdef on_ready(self, events)

    @cython.locals(was_blocked=bint)
    cpdef after_io(self)

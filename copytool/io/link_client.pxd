"""cdefs for link_client.py"""

cimport cython

from ..link.connection cimport ClientEnd


cdef class LinkClient:
    cdef public tuple address
    cdef public str state
    cdef public str reason
    cdef public long long connects
    cdef public ClientEnd end
    cdef object _loop
    cdef str _peer
    cdef object _make_end
    cdef object _on_bodies
    cdef object _on_change
    cdef object _identity
    cdef object _socket
    cdef object _channel
    cdef double _retry_s
    cdef bint _is_blocked
    cdef double _deadline

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)
    cpdef send_pending(self, double now)

    @cython.locals(events=int, data=object, bodies=list)
    cpdef _on_ready(self, events)

    cdef str _hint(self)

    @cython.locals(end=ClientEnd, blocked=bint, pending=Py_ssize_t)
    cdef _after_io(self, double now)

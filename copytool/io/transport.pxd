"""cdefs for transport.py"""

cimport cython

from ..link.connection cimport CopyEnd, InterceptEnd, LinkEnd


@cython.locals(data=bytearray)
cdef bint _send_pending(sock, LinkEnd end) except -1

cdef _receive(sock)


cdef class InterceptClient:
    cdef public tuple address
    cdef public str state
    cdef public str reason
    cdef public long long connects
    cdef object _loop
    cdef object _share
    cdef str _version
    cdef object _on_records
    cdef object _on_change
    cdef object _socket
    cdef CopyEnd _end
    cdef double _retry_s
    cdef bint _is_blocked
    cdef double _deadline

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)

    @cython.locals(events=int, data=object, bodies=list)
    cpdef _on_ready(self, events)

    @cython.locals(end=CopyEnd, blocked=bint)
    cdef _after_io(self, double now)


cdef class PeerConnection:
    cdef public object socket
    cdef public str host
    cdef public str name
    cdef public InterceptEnd end
    cdef public bint blocked
    cdef object _server

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)
    cpdef on_ready(self, events)

    @cython.locals(was_blocked=bint)
    cpdef after_io(self)

"""cdefs for link_client.py"""

cimport cython

from ..link.connection cimport CopyEnd


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
    cdef object _identity
    cdef object _socket
    cdef object _channel
    cdef CopyEnd _end
    cdef double _retry_s
    cdef bint _is_blocked
    cdef double _deadline

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)

    @cython.locals(events=int, data=object, bodies=list)
    cpdef _on_ready(self, events)

    cdef str _hint(self)

    @cython.locals(end=CopyEnd, blocked=bint)
    cdef _after_io(self, double now)

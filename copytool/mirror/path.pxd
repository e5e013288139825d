"""cdefs for path.py"""

cimport cython

cdef Py_ssize_t _MIN_MSS


@cython.final
cdef class PathLimit:
    cdef Py_ssize_t _header_bytes
    cdef Py_ssize_t _configured
    cdef Py_ssize_t _learnt
    cdef double _learnt_until
    cdef double _suspected_at
    cdef double _dropped_at
    cdef public Py_ssize_t payload_bytes

    cpdef set_route(self, Py_ssize_t mtu_bytes, double now)
    cpdef note_own_drops(self, double now)
    cpdef Py_ssize_t smaller(self, Py_ssize_t payload_bytes) except -1
    cpdef suspect(self, Py_ssize_t payload_bytes, double failing_since, double now)


@cython.final
cdef class SegmentSize:
    cdef double _failing_since
    cdef PathLimit _path
    cdef Py_ssize_t _tried
    cdef public Py_ssize_t target_mss

    @cython.locals(limit=Py_ssize_t)
    cpdef Py_ssize_t limit(self) noexcept

    cpdef note_failing(self, double since)
    cpdef bint try_smaller(self, Py_ssize_t waiting_bytes) except *
    cpdef note_acknowledged(self, double now)
    cpdef forget(self)

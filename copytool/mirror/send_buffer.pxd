"""cdefs for send_buffer.py"""

cimport cython

cdef int _SMALL
cdef int _MIN_FORGOTTEN


@cython.final
cdef class SendBuffer:
    cdef Py_ssize_t _first
    cdef readonly list _pieces
    cdef list _starts
    cdef list _urgent
    cdef public long long end
    cdef public bint finished
    cdef public long long start

    @cython.locals(pieces=list)
    cpdef append(self, bytes octets, bint urgent)

    @cython.locals(count="long long", pieces=list, starts=list, first=Py_ssize_t, octets=bytes)
    cpdef Py_ssize_t acknowledge(self, long long position) except -1

    @cython.locals(index=Py_ssize_t, offset=Py_ssize_t, octets=bytes, missing=Py_ssize_t)
    cpdef bytes read(self, long long position, Py_ssize_t size)

    cpdef bint has_urgent(self) noexcept

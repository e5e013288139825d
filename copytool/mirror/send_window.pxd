"""cdefs for send_window.py"""

cimport cython


@cython.final
cdef class SendWindow:
    cdef long long _largest
    cdef public long long octets
    cdef public int scale

    cpdef open(self, int field, int scale)
    cpdef long long scaled(self, long long field) noexcept
    cpdef set(self, long long octets)
    cpdef long long usable(self, long long size, long long room) noexcept

"""cdefs for frames.py"""

cimport cython


cdef class FrameReader:
    cdef readonly bytearray _buffer
    cdef Py_ssize_t _start
    cdef public bytes body

    cpdef append(self, bytes data)

    @cython.locals(buffer=bytearray, start=Py_ssize_t, end=Py_ssize_t, length=Py_ssize_t)
    cpdef int next_frame(self) except -2

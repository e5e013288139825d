"""cdefs for frames.py"""


cdef class FrameReader:
    cdef readonly bytearray _buffer

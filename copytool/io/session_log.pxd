"""cdefs for session_log.py"""

from ..mirror.events cimport SessionEnded


cdef class SessionLog:
    cdef readonly long long _ended
    cdef object _entries

    cpdef add(self, SessionEnded event)

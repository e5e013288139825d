"""cdefs for admission.py"""

cimport cython

from .config cimport MirrorConfig
from .counters cimport EngineCounters
from .remembered cimport Remembered


@cython.final
cdef class Admission:
    cdef object _clients
    cdef MirrorConfig _config
    cdef EngineCounters _counters
    cdef object _sampler
    cdef bint _takes_all
    cdef public int copies
    cdef public bint feedback
    cdef public bint paused
    cdef readonly double ratio_percent
    cdef readonly Remembered remembered

    cpdef set_ratio(self, double ratio_percent)
    cpdef str reason_to_leave_out(self, bytes key)
    cpdef str reason_to_decline(self, bytes key, Py_ssize_t sessions)
    cpdef decline(self, bytes key, str outcome, long long isn)
    cpdef bint has_left_out(self, bytes key) except *
    cpdef str count_midstream(self, bytes key)
    cpdef bint may_join(self, bytes key, Py_ssize_t sessions) except *
    cpdef join(self, bytes key)

"""cdefs for admission.py"""

cimport cython

from .config cimport MirrorConfig
from .counters cimport EngineCounters
from .mapping cimport flow_hash
from .remembered cimport Remembered


@cython.final
cdef class Admission:
    cdef object _clients
    cdef MirrorConfig _config
    cdef EngineCounters _counters
    cdef str _shed_outcome
    cdef unsigned long long _share_threshold
    cdef unsigned long long _threshold
    cdef bint _takes_all
    cdef public int copies
    cdef public bint feedback
    cdef public bint paused
    cdef readonly double ratio_percent
    cdef readonly Remembered remembered
    cdef public long long session_cap
    cdef readonly double share

    cpdef set_ratio(self, double ratio_percent)
    cpdef set_share(self, double share, str outcome)
    cpdef double admitted_percent(self) except? -1
    cdef _set_thresholds(self)

    @cython.locals(client=bytes, port="unsigned int", value="unsigned int")
    cpdef str reason_to_leave_out(self, bytes key)
    cpdef str reason_to_decline(self, bytes key, Py_ssize_t sessions)
    cpdef decline(self, bytes key, str outcome, long long isn)
    cpdef bint has_left_out(self, bytes key) except *
    cpdef str count_midstream(self, bytes key)
    cpdef bint may_join(self, bytes key, Py_ssize_t sessions) except *
    cpdef join(self, bytes key)

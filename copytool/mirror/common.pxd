"""cdefs for common.py"""

cimport cython

from .config cimport MirrorConfig
from .counters cimport EngineCounters
from .emitter cimport Emitter
from .habits cimport TargetHabits
from .path cimport PathLimit


@cython.final
cdef class Common:
    cdef public list awake
    cdef public MirrorConfig config
    cdef public EngineCounters counters
    cdef public Emitter emitter
    cdef public TargetHabits habits
    cdef public PathLimit path
    cdef public list ready
    cdef public list spares
    cdef public Py_ssize_t woken
    cdef Py_ssize_t _wanted

    cpdef leave(self, object parts)
    cpdef begin_period(self)

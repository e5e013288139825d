"""cdefs for habits.py"""

cimport cython

from .config cimport MirrorConfig

cdef int _KNOWN_RESPONSES
cdef double _HALF_LIFE_S
cdef int _THOUGHTS
cdef double _PER_RESPONSE


@cython.final
cdef class TargetHabits:
    cdef MirrorConfig _config
    cdef double _differed_at
    cdef double _longest_at
    cdef double _longest_s
    cdef long long _responses
    cdef double _thought_at
    cdef double _thought_s
    cdef double _unasked_at
    cdef public bint has_been_equal

    cpdef note(self, double pause_s, double now)
    cpdef note_thought(self, double thought_s, double now)
    cpdef note_response(self)
    cpdef note_lengths(self, bint equal, double now)
    cpdef bint answers_alike(self, double now) noexcept
    cpdef note_unasked(self, double now)
    cpdef bint speaks_unasked(self, double now) noexcept
    cpdef double longest_s(self, double now) except? -1
    cpdef double silence_s(self, double now) except? -1
    cdef double _fade(self, double longest_s, double age_s) except? -1
    cpdef double least_quiet_s(self, bint is_shorter, double now) except? -1

"""cdefs for timers.py"""

cimport cython

cdef double _NEVER
cdef double _MIN_DELAY_S


cdef class Timed:
    cdef public double timer_at
    cdef public Py_ssize_t timer_index

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)


@cython.final
cdef class TimerQueue:
    cdef list _heap

    cpdef update(self, Timed item)
    cdef _schedule(self, Timed item, double when)

    @cython.locals(index=Py_ssize_t, last=Timed)
    cpdef discard(self, Timed item)

    @cython.locals(heap=list, index=Py_ssize_t, above=Timed)
    cdef _rise(self, Timed item)

    @cython.locals(heap=list, size=Py_ssize_t, index=Py_ssize_t, child=Py_ssize_t, below=Timed, other=Timed)
    cdef _sink(self, Timed item)

    @cython.locals(first=Timed)
    cpdef double next_timer(self) except? -1

    @cython.locals(heap=list, item=Timed)
    cpdef handle_due(self, double now)

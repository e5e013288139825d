"""cdefs for loop.py"""

cimport cython

from . cimport waiting

cdef double _MAX_SLEEP_S
cdef int _MAX_READY
cdef double _NEVER
cdef int _READ
cdef int _WRITE
cdef int _IN
cdef int _OUT


@cython.final
cdef class _Watch:
    cdef public object fileobj
    cdef public int events
    cdef public object callback


cdef class EventLoop:
    cdef public long long failures
    cdef public long long starved
    cdef public list services
    cdef public object pace
    cdef object _epoll
    cdef dict _watches
    cdef dict _descriptors
    cdef bint _running
    cdef dict _paused
    cdef dict _resting
    cdef dict _signal_handlers
    cdef object _wakeup
    cdef object _wakeup_write
    cdef int _wakeup_descriptor

    @cython.locals(watch=_Watch)
    cdef _dispatch(self, int descriptor, int ready)

    @cython.locals(deadline=double)
    cdef double _next_deadline(self) except? -1

    @cython.locals(watch=_Watch)
    cdef _Watch _forget(self, fileobj)

    cdef _serve(self, double now)
    cdef double _due(self, service) except? -1
    cdef bint _guard(self, callback, argument) except -1

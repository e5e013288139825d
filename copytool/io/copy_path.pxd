"""cdefs for copy_path.py"""

cimport cython

from ..mirror.client cimport ClientConnection
from ..mirror.counters cimport EngineCounters
from ..mirror.engine cimport Engine
from .feeding cimport feed_packets
from .output cimport PacketOutput
from .pace cimport Pace
from .ring cimport BlockRing
from .session_log cimport SessionLog

cdef int _BLOCKS_AT_ONCE
cdef int _BLOCKS_AT_MOST
cdef double _REST_S
cdef Py_ssize_t _SEND_BATCH
cdef int _CHECKS_AT_ONCE
cdef double _STATISTICS_S


cdef class CopyPath:
    cdef public PacketOutput output
    cdef readonly Engine _engine
    cdef list _rings
    cdef SessionLog _session_log
    cdef object _on_failure
    cdef object _sockets
    cdef public long long lost
    cdef set _behind_drops
    cdef double _statistics_at
    cdef Pace _pacing
    cdef double _saving_rest_s
    cdef object _shaper

    @cython.locals(engine=Engine, ring=BlockRing, counters=EngineCounters)
    cpdef double pace(self) except? -1

    cpdef double next_timer(self) except? -1
    cpdef handle_timer(self, double now)
    cpdef look_after_rings(self, double now)

    @cython.locals(blocks=int, limit=int, wall_clock_ahead_s=double)
    cpdef receive_packets(self, BlockRing ring, double now)

    @cython.locals(lost="long long")
    cpdef receive_forwarded(self, list bodies, double now)

    cpdef receive_records(self, list bodies, double now)

    @cython.locals(engine=Engine, packets=list)
    cpdef flush(self, double now)

    @cython.locals(engine=Engine, connection=ClientConnection, sockets=object)
    cdef _check_connections(self, double now)

    cdef _judge(self, ClientConnection connection, str state, double now)

    @cython.locals(connection=ClientConnection)
    cpdef receive_states(self, list states, double now)

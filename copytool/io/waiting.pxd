"""wait_readable() of waiting.py in C, for the modules that are compiled."""

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <poll.h>
    #include <time.h>
    """
    struct pollfd:
        int fd
        short events
    struct timespec:
        long tv_sec
        long tv_nsec
    int ppoll(pollfd* files, unsigned long count, const timespec* timeout, const void* mask)
    int POLLIN


cdef inline wait_readable(int descriptor, double seconds):
    cdef pollfd file
    cdef timespec timeout
    file.fd = descriptor
    file.events = <short>POLLIN
    timeout.tv_sec = <long>seconds
    timeout.tv_nsec = <long>((seconds - <double>timeout.tv_sec) * 1e9)
    with nogil:
        ppoll(&file, 1, &timeout, NULL)

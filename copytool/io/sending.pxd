"""send_many() of sending.py with one system call for all messages, for the modules that are compiled."""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport errno
from libc.string cimport memset

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    """
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int sendmmsg(int descriptor, mmsghdr* messages, unsigned int count, int flags)

cdef enum:
    MAX_MESSAGES = 64


cdef inline Py_ssize_t send_many(int descriptor, list messages, Py_ssize_t first):
    cdef mmsghdr headers[MAX_MESSAGES]
    cdef iovec parts[2 * MAX_MESSAGES]
    cdef Py_ssize_t count = len(messages) - first
    cdef Py_ssize_t index
    cdef tuple message
    cdef int sent
    if count > MAX_MESSAGES:
        count = MAX_MESSAGES
    memset(headers, 0, count * sizeof(mmsghdr))
    for index in range(count):
        message = <tuple>messages[first + index]
        parts[2 * index].iov_base = PyBytes_AS_STRING(<bytes>message[0])
        parts[2 * index].iov_len = PyBytes_GET_SIZE(<bytes>message[0])
        parts[2 * index + 1].iov_base = PyByteArray_AS_STRING(<bytearray>message[1])
        parts[2 * index + 1].iov_len = PyByteArray_GET_SIZE(<bytearray>message[1])
        headers[index].msg_hdr.msg_iov = &parts[2 * index]
        headers[index].msg_hdr.msg_iovlen = 2
    sent = sendmmsg(descriptor, headers, <unsigned int>count, 0)
    return -errno if sent < 0 else sent

/* A disk that lies or fails: loaded before libc, in place of the calls that make a file durable.
 *
 * While the file that FSYNC_ORDER names begins with "l", they are left out; with "f", they fail. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_by(long call, int fd) {
    char order = 0;
    int file = open(getenv("FSYNC_ORDER"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, &order, 1) < 0) order = 0;
        close(file);
    }
    switch (order) {
    case 'l':
        return 0;
    case 'f':
        errno = EIO;
        return -1;
    default:
        return (int)syscall(call, fd);
    }
}

int fsync(int fd) { return sync_by(SYS_fsync, fd); }

int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }

/* A file system without locks, for LD_PRELOAD. */
#include <errno.h>

int flock(int descriptor, int operation)
{
    errno = ENOSYS;
    return -1;
}

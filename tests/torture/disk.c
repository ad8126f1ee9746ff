/* Preloaded into what is tortured: while a process's control file says so, writing and syncing the chosen files fails.
 *
 * torture_disk names the control file: [0] 0 or the errno to fail with, [1..3] unused, [4..11] how often it failed
 * (little endian), [12..] the path that the chosen files begin with, ending in a NUL.
 * What is not covered: pages that are mapped (SQLite's -shm), reads, and what a kernel loses at a power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CONTROL_BYTES = 4096, PATH_AT = 12 };
static volatile unsigned char *control;

void torture_disk(const char *name) {
    int fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *map = mmap(NULL, CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) control = map;
}

/* The errno to fail with, 0 to go on. */
static int torture_fails(int fd) {
    char link[64], path[PATH_MAX];
    const char *chosen;
    if (!control || !control[0]) return 0;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (size < 0) return 0;
    path[size] = 0;
    chosen = (const char *)control + PATH_AT;
    if (strncmp(path, chosen, strlen(chosen))) return 0;
    __atomic_fetch_add((volatile uint64_t *)(control + 4), 1, __ATOMIC_RELAXED);
    return control[0];
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAILS(fd) \
    do { int error_ = torture_fails(fd); if (error_) { errno = error_; return -1; } } while (0)

ssize_t write(int fd, const void *from, size_t size) {
    REAL(write);
    FAILS(fd);
    return real(fd, from, size);
}

/* A disk that fills up takes a part first: every other failing write leaves half of its bytes behind. */
#define PWRITE(name, offset) \
    ssize_t name(int fd, const void *from, size_t size, offset at) { \
        static unsigned turn; \
        REAL(name); \
        int error = torture_fails(fd); \
        if (!error) return real(fd, from, size, at); \
        if (error == ENOSPC && size > 1 && ++turn % 2) return real(fd, from, size / 2, at); \
        errno = error; \
        return -1; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

int fsync(int fd) { REAL(fsync); FAILS(fd); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); FAILS(fd); return real(fd); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); FAILS(fd); return real(fd, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); FAILS(fd); return real(fd, size); }
int fallocate(int fd, int mode, off_t at, off_t size) { REAL(fallocate); FAILS(fd); return real(fd, mode, at, size); }
int posix_fallocate(int fd, off_t at, off_t size) {
    REAL(posix_fallocate);
    int error = torture_fails(fd);
    return error ? error : real(fd, at, size);
}

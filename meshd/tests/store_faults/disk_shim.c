/* A bad disk: stands between a process and libc (LD_PRELOAD) and counts what is written, cut and synced in files
 * whose path holds DISK_FILES. At the DISK_AT-th of these operations
 *   DISK_MODE=fail: it and the following, DISK_TIMES in all, fail with DISK_ERRNO, writes after half their bytes;
 *   DISK_MODE=cut:  the power goes. Of all that was not synced, each sector of 512 bytes is randomly (DISK_SEED)
 *                   as it is now or as it was at any time since the last sync, and so is the file's length.
 * DISK_ONLY=sync counts and fails syncs alone.
 * DISK_ROOM names a file with a number: the files may not have more bytes in all; what would is refused with ENOSPC.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FDS 1024
#define FILES 16
#define SECTOR 512

struct undo { /* What was there before one write or cut. */
    struct undo *older;
    off_t at;
    size_t length;
    off_t file_length;
    unsigned char bytes[];
};
struct file {
    char path[4096];
    struct undo *newest;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file files[FILES];
static int file_of[FDS]; /* Number of the file plus one. */
static long operations, fail_at, fail_times, seed;
static int fail_errno, is_cut, only_sync, is_ready;
static const char *wanted;

#define REAL(name) \
    static __typeof__(&name) real_##name; \
    if (!real_##name) real_##name = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static long number(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value ? atol(value) : otherwise;
}

static void get_ready(void) {
    if (is_ready) return;
    is_ready = 1;
    wanted = getenv("DISK_FILES");
    fail_at = number("DISK_AT", 0);
    fail_times = number("DISK_TIMES", 1);
    fail_errno = (int)number("DISK_ERRNO", EIO);
    seed = number("DISK_SEED", 1);
    is_cut = getenv("DISK_MODE") && !strcmp(getenv("DISK_MODE"), "cut");
    only_sync = getenv("DISK_ONLY") && !strcmp(getenv("DISK_ONLY"), "sync");
}

static uint64_t dice(void) {
    static uint64_t state;
    state = (state ? state : (uint64_t)seed * 2654435761u + 1);
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state;
}

static void note_open(int fd, const char *path) {
    get_ready();
    if (fd < 0 || fd >= FDS || !wanted || !strstr(path, wanted)) return;
    pthread_mutex_lock(&lock);
    for (int n = 0; n < FILES; n++) {
        if (!files[n].path[0]) strncpy(files[n].path, path, sizeof files[n].path - 1);
        if (!strcmp(files[n].path, path)) {
            file_of[fd] = n + 1;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
}

/* Puts one sector back to what it was before one of the writes since the last sync, or leaves it. */
static void roll_sector(int fd, struct file *file, off_t sector) {
    off_t from = sector * SECTOR, to = from + SECTOR;
    int versions = 0;
    for (struct undo *u = file->newest; u; u = u->older) versions += u->at < to && u->at + (off_t)u->length > from;
    int back = (int)(dice() % (uint64_t)(versions + 1)); /* 0: as it is now. */
    REAL(pwrite64);
    for (struct undo *u = file->newest; u && back; u = u->older) {
        if (!(u->at < to && u->at + (off_t)u->length > from)) continue;
        off_t start = u->at > from ? u->at : from;
        off_t end = u->at + (off_t)u->length < to ? u->at + (off_t)u->length : to;
        if (real_pwrite64(fd, u->bytes + (start - u->at), (size_t)(end - start), start) < 0) abort();
        back--;
    }
}

static void cut_power(void) {
    REAL(open64);
    REAL(ftruncate64);
    for (int n = 0; n < FILES && files[n].path[0]; n++) {
        struct file *file = &files[n];
        if (!file->newest) continue;
        int fd = real_open64(file->path, O_RDWR);
        if (fd < 0) continue;
        struct stat now;
        if (fstat(fd, &now)) abort();
        off_t lengths[64] = {now.st_size};
        int known = 1;
        off_t end = now.st_size;
        for (struct undo *u = file->newest; u; u = u->older) {
            if (known < 64) lengths[known++] = u->file_length;
            if (u->at + (off_t)u->length > end) end = u->at + (off_t)u->length;
        }
        for (off_t sector = 0; sector <= end / SECTOR; sector++) roll_sector(fd, file, sector);
        if (real_ftruncate64(fd, lengths[dice() % (uint64_t)known])) abort();
    }
    _exit(9);
}

/* Counts an operation; says whether it fails. */
static int fails(int is_sync) {
    if (!fail_at || (only_sync && !is_sync)) return 0;
    operations++;
    if (operations < fail_at || operations >= fail_at + fail_times) return 0;
    if (is_cut) cut_power();
    errno = fail_errno;
    return 1;
}

/* Whether a write would need more room than there is. Its bytes are refused as a whole. */
static int is_full(int fd, off_t end) {
    static const char *room_file;
    if (!room_file && !(room_file = getenv("DISK_ROOM"))) return 0;
    struct stat now;
    if (fstat(fd, &now) || end <= now.st_size) return 0;
    off_t used = end - now.st_size;
    for (int n = 0; n < FILES && files[n].path[0]; n++)
        if (!stat(files[n].path, &now)) used += now.st_size;
    FILE *room = fopen(room_file, "r");
    long bytes = 0;
    if (!room || fscanf(room, "%ld", &bytes) != 1) abort();
    fclose(room);
    errno = ENOSPC;
    return used > bytes;
}

static void note_change(int fd, struct file *file, off_t at, size_t length) {
    if (!is_cut) return;
    REAL(pread64);
    struct stat now;
    struct undo *undo = calloc(1, sizeof *undo + length);
    if (!undo || fstat(fd, &now)) abort();
    undo->at = at, undo->length = length, undo->file_length = now.st_size, undo->older = file->newest;
    if (at < now.st_size && real_pread64(fd, undo->bytes, length, at) < 0) abort();
    file->newest = undo;
}

static ssize_t write_at(int fd, const void *bytes, size_t length, off_t at) {
    REAL(pwrite64);
    struct file *file = fd >= 0 && fd < FDS && file_of[fd] ? &files[file_of[fd] - 1] : NULL;
    if (!file) return real_pwrite64(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    ssize_t written;
    if (is_full(fd, at + (off_t)length)) {
        written = -1;
    } else if (fails(0)) {
        int error = errno;
        written = real_pwrite64(fd, bytes, length / 2, at) < 0 ? -1 : -1;
        errno = error;
    } else {
        note_change(fd, file, at, length);
        written = real_pwrite64(fd, bytes, length, at);
    }
    pthread_mutex_unlock(&lock);
    return written;
}

static int cut_to(int fd, off_t length) {
    REAL(ftruncate64);
    struct file *file = fd >= 0 && fd < FDS && file_of[fd] ? &files[file_of[fd] - 1] : NULL;
    if (!file) return real_ftruncate64(fd, length);
    pthread_mutex_lock(&lock);
    int done = -1;
    if (!fails(0)) {
        struct stat now;
        if (fstat(fd, &now)) abort();
        note_change(fd, file, length, now.st_size > length ? (size_t)(now.st_size - length) : 0);
        done = real_ftruncate64(fd, length);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

static int synced(int fd, int (*real)(int)) {
    struct file *file = fd >= 0 && fd < FDS && file_of[fd] ? &files[file_of[fd] - 1] : NULL;
    if (!file) return real(fd);
    pthread_mutex_lock(&lock);
    int done = -1;
    if (!fails(1)) {
        done = is_cut ? 0 : real(fd); /* Nobody pulls the real plug. */
        while (file->newest) {
            struct undo *older = file->newest->older;
            free(file->newest);
            file->newest = older;
        }
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    int fd = real_open64(path, flags, mode);
    note_open(fd, path);
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return open64(path, flags, mode);
}

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < FDS) file_of[fd] = 0;
    return real_close(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) { return write_at(fd, bytes, length, at); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return write_at(fd, bytes, length, at); }

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write);
    if (fd < 0 || fd >= FDS || !file_of[fd]) return real_write(fd, bytes, length);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t written = write_at(fd, bytes, length, at);
    if (written > 0) lseek(fd, at + written, SEEK_SET);
    return written;
}

int ftruncate64(int fd, off_t length) { return cut_to(fd, length); }
int ftruncate(int fd, off_t length) { return cut_to(fd, length); }

int fsync(int fd) {
    REAL(fsync);
    return synced(fd, real_fsync);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return synced(fd, real_fdatasync);
}

// SPDX-License-Identifier: Apache-2.0
// Processes that outlive the one that started them. Each holds a record lock on its pid file as
// long as it lives; such a lock passes through exec, not to children, and the kernel tells whose it
// is.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/host.h"

static int write_number(int fd, pid_t pid)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%ld\n", (long)pid);

    return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) == len ? 0 : -1;
}

// Takes the lock and writes the number. A descriptor that must stay open, or -1 with errno: EAGAIN
// when somebody else has the lock.
static int take(const char *pid_file)
{
    int fd = open(pid_file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fd >= 0 && (fcntl(fd, F_SETLK, &whole) < 0 || write_number(fd, getpid()) < 0)) {
        int error = errno == EACCES ? EAGAIN : errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int host_claim(const char *pid_file, struct why *why)
{
    int fd = take(pid_file);

    if (fd >= 0)
        return fd;
    if (errno == EAGAIN) {
        why_set(why, "it is running already, see %s", pid_file);
        return ERR_EXISTS;
    }
    why_set(why, "cannot write %s: %s", pid_file, strerror(errno));
    return ERR_IO;
}

pid_t host_running(const char *pid_file)
{
    int fd = open(pid_file, O_RDONLY | O_CLOEXEC);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool is_held = fd >= 0 && fcntl(fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;

    if (fd >= 0)
        close(fd);
    return is_held ? whole.l_pid : 0;
}

int host_watch_process(const char *pid_file)
{
    pid_t pid = host_running(pid_file);
    int fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

    // Between the two the process may have ended and its number be another's.
    if (fd >= 0 && host_running(pid_file) != pid) {
        close(fd);
        fd = -1;
    }
    return fd < 0 ? ERR_NOT_FOUND : fd;
}

// In the child: becomes the program, or returns with errno. The descriptor of the lock stays open
// in it on purpose.
static void become(const struct host_process *p)
{
    int in = open("/dev/null", O_RDONLY);
    int out = open(p->log_file, O_WRONLY | O_CREAT | O_APPEND, 0640);
    sigset_t held;
    int locked;

    // Whoever sees the lock may ask for a reload, which must not end a program that does not
    // listen yet: the signal waits until it does.
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_SETMASK, &held, NULL);
    locked = take(p->pid_file);
    if (in < 0 || out < 0 || locked < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
        dup2(out, 2) < 0 || fcntl(locked, F_SETFD, 0) < 0)
        return;
    if (in > 2)
        close(in);
    if (out > 2)
        close(out);
    execvp(p->argv[0], (char *const *)(uintptr_t)p->argv);

    int error = errno;

    close(locked); // before it is told, so that who hears it finds nobody running
    errno = error;
}

// The child of the child runs the program, so that it belongs to nobody here. What goes wrong is
// told through `tell`, which closes by itself when the program runs.
static void fork_twice(const struct host_process *p, int tell)
{
    pid_t parent = getpid(), child = fork();

    if (child > 0) {
        waitpid(child, NULL, 0);
        return;
    }
    if (child == 0 && setsid() >= 0) {
        child = fork();
        if (child > 0)
            _exit(0);
        if (child == 0)
            become(p);
    }
    int error = errno;
    bool is_told = write(tell, &error, sizeof(error)) == sizeof(error);

    if (getpid() != parent)
        _exit(is_told ? 127 : 126);
}

int host_start(const struct host_process *p, struct why *why)
{
    int tell[2], error = 0;

    if (pipe2(tell, O_CLOEXEC) < 0) {
        why_set(why, "cannot start %s: %s", p->argv[0], strerror(errno));
        return ERR_IO;
    }
    fflush(NULL); // what is not written yet must not be written by a child too
    fork_twice(p, tell[1]);
    close(tell[1]);
    bool is_up = read(tell[0], &error, sizeof(error)) == 0;

    close(tell[0]);
    if (is_up)
        return 0;
    if (error == EAGAIN) {
        why_set(why, "it is running already, see %s", p->pid_file);
        return ERR_EXISTS;
    }
    why_set(why, "cannot start %s: %s", p->argv[0], strerror(error));
    return ERR_IO;
}

static void send(int pidfd, int signal)
{
    syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

void host_ask_to_stop(const char *pid_file)
{
    int pidfd = host_watch_process(pid_file);

    if (pidfd < 0)
        return;
    send(pidfd, SIGTERM);
    close(pidfd);
}

int host_stop(const char *pid_file, uint32_t grace_ms, struct why *why)
{
    int pidfd = host_watch_process(pid_file);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};

    if (pidfd < 0)
        return 0;
    send(pidfd, SIGTERM);
    if (poll(&ended, 1, (int)grace_ms) == 0) {
        send(pidfd, SIGKILL);
        if (poll(&ended, 1, 10000) == 0) {
            why_set(why, "the process of %s does not end", pid_file);
            close(pidfd);
            return ERR_IO;
        }
    }
    close(pidfd);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * floor.c - the floor below every proxy: bytes from one socket to another, edge-triggered epoll,
 * one thread, no protocol. What a gateway costs above it is what the gateway does. It shares
 * nothing with inferd on purpose, not even helpers.
 *
 *   floor LISTEN UPSTREAM        each 127.0.0.1:PORT or unix:/path
 *
 * Each client gets an upstream connection of its own when it is accepted, and both live as long as
 * the first of them. A side that takes no more bytes stops the reading of the other: what it did
 * not take stands in that direction's buffer, which exists only then.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_BYTES = 65536, EVENTS = 256, BACKLOG = 4096 };

struct endpoint {
    struct sockaddr_storage at;
    socklen_t n;
};

struct side {
    struct pair *pair;
    int fd;
    char *held;     /* bytes that it has not taken yet */
    size_t from, n; /* what of `held` is left */
};

struct pair {
    struct side side[2];
    struct pair *next_dead;
    bool dead;
};

static struct endpoint upstream;
static int poller;
static char buffer[READ_BYTES];
static struct pair *dead; /* freed behind the events of a turn */

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void parse(const char *text, struct endpoint *e)
{
    struct sockaddr_un *un = (void *)&e->at;
    struct sockaddr_in *in = (void *)&e->at;
    const char *colon = strrchr(text, ':');
    char host[64] = "";

    if (strncmp(text, "unix:", 5) == 0 && strlen(text + 5) < sizeof(un->sun_path)) {
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, text + 5, strlen(text + 5) + 1);
        e->n = sizeof(*un);
        return;
    }
    if (colon && (size_t)(colon - text) < sizeof(host))
        memcpy(host, text, (size_t)(colon - text));
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)strtoul(colon ? colon + 1 : "", NULL, 10));
    e->n = sizeof(*in);
    if (inet_pton(AF_INET, host, &in->sin_addr) != 1 || in->sin_port == 0) {
        fprintf(stderr, "floor: %s is neither ADDRESS:PORT nor unix:/path\n", text);
        exit(2);
    }
}

static struct side *other(struct side *s) { return &s->pair->side[s == &s->pair->side[0]]; }

static void end_pair(struct pair *p)
{
    if (p->dead)
        return;
    p->dead = true;
    p->next_dead = dead;
    dead = p;
    for (int i = 0; i < 2; i++) {
        close(p->side[i].fd);
        free(p->side[i].held);
    }
}

/* Gives `to` the bytes; what it does not take is held. False: it is gone. */
static bool give(struct side *to, const char *p, size_t n)
{
    ssize_t w = send(to->fd, p, n, MSG_NOSIGNAL);

    if (w < 0 && errno != EAGAIN && errno != ENOTCONN)
        return false;
    if (w < 0)
        w = 0;
    if ((size_t)w < n) {
        to->held = malloc(n - (size_t)w);
        if (!to->held)
            die("malloc");
        memcpy(to->held, p + w, n - (size_t)w);
        to->from = 0;
        to->n = n - (size_t)w;
    }
    return true;
}

/* False: the pair is over. */
static bool pump(struct side *from)
{
    struct side *to = other(from);

    while (!to->held) {
        ssize_t n = recv(from->fd, buffer, sizeof(buffer), 0);

        if (n < 0)
            return errno == EAGAIN || errno == ENOTCONN;
        if (n == 0)
            return false;
        if (!give(to, buffer, (size_t)n))
            return false;
        if ((size_t)n < sizeof(buffer))
            return true; /* the edge comes again with further bytes */
    }
    return true;
}

static bool drain(struct side *to)
{
    while (to->held) {
        ssize_t w = send(to->fd, to->held + to->from, to->n, MSG_NOSIGNAL);

        if (w < 0)
            return errno == EAGAIN || errno == ENOTCONN;
        to->from += (size_t)w;
        to->n -= (size_t)w;
        if (to->n == 0) {
            free(to->held);
            to->held = NULL;
            return pump(other(to));
        }
    }
    return true;
}

static void on_event(struct side *s, uint32_t events)
{
    bool alive = !s->pair->dead;

    if (alive && (events & EPOLLOUT))
        alive = drain(s);
    if (alive && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        alive = pump(s);
    if (!alive)
        end_pair(s->pair);
}

static bool watch(struct side *s, struct pair *p, int fd)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
    int one = 1;

    s->pair = p;
    s->fd = fd;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* refused on Unix sockets */
    return epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) == 0;
}

static void on_client(int listener)
{
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), server;
    struct pair *p;

    if (client < 0)
        return;
    server = socket(upstream.at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server < 0 ||
        (connect(server, (void *)&upstream.at, upstream.n) < 0 && errno != EINPROGRESS)) {
        close(client);
        if (server >= 0)
            close(server);
        return;
    }
    p = calloc(1, sizeof(*p));
    if (!p || !watch(&p->side[0], p, client) || !watch(&p->side[1], p, server))
        die("no room for a connection");
}

static int listen_at(const struct endpoint *e)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fd = socket(e->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (const void *)&e->at, e->n) < 0 || listen(fd, BACKLOG) < 0)
        die("listen");
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll");
    return fd;
}

static void run(int listener)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int n = epoll_wait(poller, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                on_event(events[i].data.ptr, events[i].events);
            else
                on_client(listener);
        }
        while (dead) {
            struct pair *next = dead->next_dead;

            free(dead);
            dead = next;
        }
    }
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    struct endpoint at = {0};

    if (argc != 3) {
        fprintf(stderr, "usage: floor LISTEN UPSTREAM\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)!setrlimit(RLIMIT_NOFILE, &limit);
    }
    parse(argv[1], &at);
    parse(argv[2], &upstream);
    poller = epoll_create1(EPOLL_CLOEXEC);
    run(listen_at(&at));
}

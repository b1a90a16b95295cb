/* SPDX-License-Identifier: Apache-2.0
 *
 * registry_thread.c - see registry_thread.h. Everything is made and unmade on the thread that
 * calls; between thread_start() and thread_join() it is the registry's own. One mail goes there: to
 * end.
 */
#include "role/registry_thread.h"

#include "api/registry.h"
#include "base/mem.h"
#include "ev/mailbox.h"
#include "ev/thread.h"
#include "role/registry_parts.h"

enum { CONNECTIONS_MAX = 4096 };

struct registry_thread {
    struct fabric fabric;
    struct hosts *hosts;
    struct registry_parts *parts;
    struct mailbox *box;
    struct thread *thread;
    char *token;
    char *made_from; /* what it depends on, as text */
};

static char *text_of(const struct registry_settings *s, const char *address)
{
    struct buf b = buf_make(4 << 20);
    char *text;

    buf_printf(&b, "%s %u %u %u %u", address, s->health_interval_s, s->health_timeout_s,
               s->cleanup_interval_s, s->max_services);
    for (size_t i = 0; i < s->allow_hosts.n; i++)
        buf_printf(&b, " %.*s", STR_ARGS(s->allow_hosts.at[i]));
    buf_printf(&b, " %.*s", STR_ARGS(s->token));
    text = str_dup(buf_str(&b));
    explicit_bzero(b.p, b.n);
    buf_fini(&b);
    return text;
}

static void free_secret(char *p)
{
    if (p)
        explicit_bzero(p, strlen(p));
    mem_free(p);
}

static void on_mail(void *ctx, struct mail *m)
{
    struct registry_thread *t = ctx;

    mem_free(m);
    loop_stop(t->fabric.loop);
}

static void run(void *ctx) { loop_run(((struct registry_thread *)ctx)->fabric.loop); }

static void destroy(struct registry_thread *t)
{
    if (t->fabric.loop) {
        fabric_close_clients(&t->fabric);
        registry_parts_destroy(&t->parts);
        if (t->box)
            mailbox_close(&t->box);
        fabric_close(&t->fabric);
    }
    hosts_destroy(&t->hosts);
    free_secret(t->token);
    free_secret(t->made_from);
    mem_free(t);
}

/* Everything but the thread. */
static int build(struct registry_thread *t, const struct registry_settings *s, const char *address,
                 struct ev_fd *fd)
{
    struct fabric_conf conf = {.role = "registry", .options.max_connections = CONNECTIONS_MAX};
    struct registry_parts_conf parts = {
        .health_interval_s = s->health_interval_s,
        .health_timeout_s = s->health_timeout_s,
        .cleanup_interval_s = s->cleanup_interval_s,
        .max_services = s->max_services,
    };
    char memory[256];
    struct buf problem = buf_on(memory, sizeof memory);
    struct addr at;
    int r = addr_parse(str_of(address), &at);

    if (r == 0)
        r = hosts_create(&s->allow_hosts, false, &t->hosts, &problem);
    if (r == 0)
        r = fabric_adopt(&conf, &at, str_of(t->token), fd, &t->fabric);
    if (r == 0)
        r = mailbox_create(t->fabric.loop, on_mail, t, &t->box);
    if (r < 0)
        return r;
    parts.hosts = t->hosts;
    registry_parts_create(&t->fabric, &parts, &t->parts);
    return fabric_serve(&t->fabric, registry_owner(), registry_parts_registry(t->parts)) == 0
               ? 0
               : -E_NO_FDS;
}

int registry_thread_settle(struct registry_thread **tp, const struct registry_settings *s,
                           const char *address, const struct ev_fd *fd)
{
    struct ev_fd own = EV_FD_NONE;
    struct registry_thread *t;
    int r;

    if (fd && *tp) {
        char *made_from = text_of(s, address);
        bool same = strcmp(made_from, (*tp)->made_from) == 0;

        free_secret(made_from);
        if (same)
            return 0;
    }
    registry_thread_stop(tp);
    if (!fd)
        return 0;
    t = xnew(struct registry_thread, .token = str_dup(s->token));
    t->made_from = text_of(s, address);
    r = ev_fd_dup(fd, &own);
    if (r == 0)
        r = build(t, s, address, &own);
    if (r == 0)
        r = thread_start("registry", run, t, &t->thread);
    ev_fd_close(&own);
    if (r < 0)
        destroy(t);
    else
        *tp = t;
    return r;
}

void registry_thread_stop(struct registry_thread **tp)
{
    struct registry_thread *t = TAKE(tp);
    struct mail *m;

    if (!t)
        return;
    m = mem_alloc(sizeof *m);
    mailbox_post(t->box, &m);
    thread_join(&t->thread);
    destroy(t);
}

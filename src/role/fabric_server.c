/* SPDX-License-Identifier: Apache-2.0
 *
 * fabric_server.c - the HTTP server of the roles that answer on their one loop: the fabric's
 * limits, connections up to a cap, and an end that lets open requests finish. See fabric.h.
 *
 * Exports: fabric_
 */
#include <errno.h>
#include <string.h>

#include "ev/listener.h"
#include "role/fabric.h"

enum { LOOK_MS = 20 }; /* whether open requests are through */

static void on_connection(void *ctx, struct ev_fd *conn, const struct addr *peer)
{
    struct fabric *f = ctx;
    int r;

    if (server_connections(f->server) >= f->conf.options.max_connections &&
        !server_shed_idle(f->server)) {
        f->refused++;
        r = server_refuse(f->server, conn, peer, NULL, FAULT_overloaded, "Too many connections");
    } else {
        r = server_accept(f->server, conn, peer, NULL);
    }
    (void)r; /* no descriptors or memory for it: the listener closes it */
}

static void on_render(void *ctx, struct buf *out)
{
    static const char refused[] = "inferd_limit_connections_total";
    static const char dropped[] = "inferd_log_dropped_total";
    const struct fabric *f = ctx;

    metrics_put_head(out, METRICS_COUNTER, refused, "Connections refused for the cap.");
    metrics_put_i64(out, refused, NULL, 0, (int64_t)f->refused);
    metrics_put_head(out, METRICS_COUNTER, dropped, "Log records dropped.");
    metrics_put_i64(out, dropped, NULL, 0, (int64_t)log_dropped());
}

int fabric_serve(struct fabric *f, const struct exchange_owner *owner, void *ctx)
{
    struct server_conf conf = {
        .limits = server_limits_usual,
        .owner = owner,
        .ctx = ctx,
        .chunks = &f->chunks,
        .arenas = &f->arenas,
        .name = STR("inferd/" INFERD_VERSION),
        .host_optional = true,
    };

    server_create(f->loop, &conf, &f->server);
    server_register(f->server, f->metrics);
    metrics_source(f->metrics, on_render, f);
    if (listener_open(f->loop, &f->socket, on_connection, f, &f->listener) < 0)
        return fabric_fail("cannot accept", strerror(errno));
    ev_fd_close(&f->socket);
    return fabric_say_listening(f);
}

/* ---- the end ---- */

static void on_end(struct deadline *d) { loop_stop(container_of(d, struct fabric, end)->loop); }

static void on_look(struct deadline *d)
{
    struct fabric *f = container_of(d, struct fabric, look);

    if (server_connections(f->server) == 0)
        loop_stop(f->loop);
    else
        deadline_arm(f->loop, &f->look, LOOK_MS, on_look);
}

void fabric_end(struct fabric *f, unsigned ms)
{
    if (f->stopping) {
        loop_stop(f->loop);
        return;
    }
    f->stopping = true;
    listener_close(&f->listener);
    server_drain(f->server);
    deadline_arm(f->loop, &f->end, ms, on_end);
    deadline_arm(f->loop, &f->look, 1, on_look);
}

void fabric_close_clients(struct fabric *f)
{
    listener_close(&f->listener);
    if (f->server)
        server_destroy(&f->server);
    deadline_stop(&f->end);
    deadline_stop(&f->look);
}

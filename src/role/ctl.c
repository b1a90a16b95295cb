/* SPDX-License-Identifier: Apache-2.0
 *
 * ctl.c - `inferd ctl`: asks a running inferd and gives it orders, through the control socket in
 * its runtime directory. Tables for people, the server's own JSON with --json. The exit status says
 * what is true: 0 it was done, 1 it was refused, failed, or nobody is there, 2 the command line is
 * wrong. An order to several engines goes on after one is refused.
 *
 * The control side answers an order when the unit's state has begun to move, not when it has
 * arrived: `inferd ctl engines` shows the rest.
 */
#include "role/ctl.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/percent.h"
#include "conf/bundle.h"
#include "conf/help.h"
#include "ev/addr.h"
#include "role/ctl_priv.h"
#include "role/ctl_show.h"
#include "role/ctl_table.h"
#include "role/role.h"
#include "role/settings.h"

enum { TARGET_BYTES = 4096 };

OPTION_TABLE(ctl_flags, CTL_OPTIONS, "An order.");

struct verb {
    struct str word;
    int (*run)(struct ctl *ctl, const struct verb *v);
    const char *target; /* of what is read */
    int (*show)(const struct json *doc, struct buf *out);
    bool named;   /* takes names */
    bool offline; /* needs no running inferd, and reads its words itself */
};

/* ---- what is said ---- */

void ctl_complain(const char *fmt, ...)
{
    va_list ap;

    (void)fflush(stdout);
    fputs("inferd ctl: ", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

bool ctl_print(struct str text)
{
    if (fwrite(text.p ? text.p : "", 1, text.n, stdout) == text.n && fflush(stdout) == 0)
        return true;
    if (errno == EPIPE)
        return true;
    ctl_complain("cannot write: %s", err_text(err_sys(errno)));
    return false;
}

static void complain_of_socket(const struct ctl *ctl, int err, bool broken, bool order)
{
    if (err == -E_TIMEOUT)
        ctl_complain("%s: no answer within 30 seconds", ctl->socket);
    else if (broken)
        ctl_complain("%s: the connection ended before the answer did (%s): %s", ctl->socket,
                     err_text(err),
                     order ? "inferd may have done it or not, see `inferd ctl status`"
                           : "ask again, see `inferd ctl status`");
    else if (err == -E_NOT_FOUND || err == -E_REFUSED)
        ctl_complain("inferd is not running there (%s: %s): start it with `inferd up`, or name the "
                     "directory of the running one with --runtime-dir",
                     ctl->socket, err_text(err));
    else if (err == -E_PERM)
        ctl_complain("%s: %s: ask as the user that runs inferd, or as root", ctl->socket,
                     err_text(err));
    else
        ctl_complain("%s: %s", ctl->socket, err_text(err));
}

/* The sentence of an error reply. */
static void complain_of_refusal(struct str what, const struct ctl_reply *reply)
{
    struct json *doc = NULL;
    char text[2048];
    struct buf safe = buf_on(text, sizeof text);
    struct str message = STR("refused");

    if (json_read(buf_str(&reply->body), NULL, NULL, &doc) == 0)
        (void)json_get_str(json_find_cstr(json_find_cstr(doc, "error"), "message"), &message);
    ctl_table_safe(&safe, str_head(message, 400));
    ctl_complain("%.*s: %.*s (%u)", STR_ARGS(what), STR_ARGS(buf_str(&safe)), reply->status);
    json_unref(&doc);
}

/* Asks; true when the answer is a 200. Everything else was told. */
static bool asked(struct ctl *ctl, struct str what, const struct ctl_question *q,
                  struct ctl_reply *reply)
{
    int r = ctl_call_ask(ctl->line, q, reply);

    if (r == -E_CLOSED)
        return true; /* the sink had enough */
    if (r < 0)
        complain_of_socket(ctl, r, reply->broken, str_eq(q->method, STR("POST")));
    else if (reply->status != 200)
        complain_of_refusal(what, reply);
    return r == 0 && reply->status == 200;
}

/* ---- verbs ---- */

static int show_reply(const struct verb *v, const struct ctl_reply *reply)
{
    struct buf out = buf_make(CTL_TEXT_BYTES);
    struct json *doc = NULL;
    int r = json_read(buf_str(&reply->body), NULL, NULL, &doc);

    if (r == 0)
        r = v->show(doc, &out);
    if (r < 0)
        ctl_complain(
            "%.*s: the answer is not understood: is the running inferd of another version?",
            STR_ARGS(v->word));
    else
        r = ctl_print(buf_str(&out)) ? 0 : -E_IO;
    json_unref(&doc);
    buf_fini(&out);
    return r < 0 ? 1 : 0;
}

static int print_line(struct buf *body)
{
    buf_char(body, '\n');
    return ctl_print(buf_str(body)) ? 0 : 1;
}

static int run_read(struct ctl *ctl, const struct verb *v)
{
    struct ctl_question q = {.method = STR("GET"), .target = str_of(v->target)};
    struct ctl_reply reply;
    int status = 1;

    if (asked(ctl, v->word, &q, &reply))
        status = ctl->flags->json ? print_line(&reply.body) : show_reply(v, &reply);
    buf_fini(&reply.body);
    return status;
}

/* What became of an order, in one line. */
static int show_answer(struct ctl *ctl, struct str subject, struct ctl_reply *reply)
{
    struct buf out = buf_make(TARGET_BYTES);
    struct str message = STR("done");
    struct json *doc = NULL;
    int status;

    if (ctl->flags->json)
        return print_line(&reply->body);
    if (json_read(buf_str(&reply->body), NULL, NULL, &doc) == 0)
        (void)json_get_str(json_find_cstr(doc, "message"), &message);
    ctl_table_safe(&out, subject);
    buf_text(&out, ": ");
    ctl_table_safe(&out, str_head(message, 800));
    buf_char(&out, '\n');
    status = ctl_print(buf_str(&out)) ? 0 : 1;
    json_unref(&doc);
    buf_fini(&out);
    return status;
}

static int give_order(struct ctl *ctl, struct str target, struct str subject)
{
    struct ctl_question q = {.method = STR("POST"), .target = target};
    struct ctl_reply reply;
    int status = 1;

    if (asked(ctl, subject, &q, &reply))
        status = show_answer(ctl, subject, &reply);
    buf_fini(&reply.body);
    return status;
}

/* "/units/NAME/VERB" in the arena. */
static struct str unit_target(struct ctl *ctl, struct str name, struct str verb)
{
    struct buf b = buf_make(TARGET_BYTES);
    struct str target;

    buf_text(&b, "/units/");
    percent_encode(&b, name);
    buf_char(&b, '/');
    buf_add(&b, verb);
    target = arena_str(ctl->arena, buf_str(&b));
    buf_fini(&b);
    return target;
}

static int run_order(struct ctl *ctl, const struct verb *v)
{
    const struct str_list *words = &ctl->flags->words;
    int status = 0;

    for (size_t i = 1; i < words->n; i++)
        status |= give_order(ctl, unit_target(ctl, words->at[i], v->word), words->at[i]);
    return status;
}

static int run_reload(struct ctl *ctl, const struct verb *v)
{
    return give_order(ctl, STR("/reload"), v->word);
}

static bool on_log(void *ctx, struct str bytes)
{
    bool *failed = ctx;

    *failed = !ctl_print(bytes);
    return !ferror(stdout);
}

static int run_logs(struct ctl *ctl, const struct verb *v)
{
    struct str name = ctl->flags->words.at[1], target = unit_target(ctl, name, v->word);
    bool failed = false;
    struct ctl_question q = {
        .method = STR("GET"),
        .target = target,
        .sink = on_log,
        .sink_ctx = &failed,
        .endless = ctl->flags->follow,
    };
    struct ctl_reply reply;
    bool good;

    if (ctl->flags->follow)
        q.target = arena_printf(ctl->arena, "%.*s?follow=1", STR_ARGS(target));
    good = asked(ctl, name, &q, &reply);
    buf_fini(&reply.body);
    return good && !failed ? 0 : 1;
}

static int run_key(struct ctl *ctl, const struct verb *v)
{
    (void)v;
    return ctl_key(ctl);
}

static const struct verb verbs[] = {
    {{"status", 6}, run_read, "/status", ctl_show_status, false, false},
    {{"engines", 7}, run_read, "/engines", ctl_show_engines, false, false},
    {{"models", 6}, run_read, "/routes", ctl_show_models, false, false},
    {{"usage", 5}, run_read, "/usage", ctl_show_usage, false, false},
    {{"start", 5}, run_order, NULL, NULL, true, false},
    {{"stop", 4}, run_order, NULL, NULL, true, false},
    {{"drain", 5}, run_order, NULL, NULL, true, false},
    {{"restart", 7}, run_order, NULL, NULL, true, false},
    {{"reload", 6}, run_reload, NULL, NULL, false, false},
    {{"logs", 4}, run_logs, NULL, NULL, true, false},
    {{"key", 3}, run_key, NULL, NULL, true, true},
};

/* ---- the command line ---- */

static int wrong(struct str word, const char *problem, const char *more)
{
    struct buf usage = buf_make(4096);

    help_usage(ctl_command(), &usage);
    ctl_complain("%.*s: %s%s", STR_ARGS(str_head(word, 100)), problem, more);
    (void)fwrite(usage.p, 1, usage.n, stderr);
    buf_fini(&usage);
    return 2;
}

static const struct verb *find_verb(struct str word, const struct verb **nearest)
{
    unsigned best = UINT_MAX;

    *nearest = NULL;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (str_eq(word, verbs[i].word))
            return &verbs[i];
        if (option_nearer(word, verbs[i].word, &best))
            *nearest = &verbs[i];
    }
    return NULL;
}

/* 0 with *ret, or 2. */
static int read_words(const struct ctl_flags *flags, const struct verb **ret)
{
    const struct str_list *words = &flags->words;
    const struct verb *nearest, *v;
    struct str word = words->n ? words->at[0] : STR_NONE;

    v = find_verb(word, &nearest);
    if (!v && nearest)
        return wrong(word, "no such command: did you mean ", nearest->word.p);
    if (!v)
        return wrong(word, "no such command", "");
    if (ctl_key_mistake(flags))
        return wrong(word, ctl_key_mistake(flags), "");
    if (v->offline) {
        *ret = v;
        return 0;
    }
    if (v->named && words->n < 2)
        return wrong(word, "needs the name of an engine", "");
    if (words->n > 1 && (!v->named || (v->run == run_logs && words->n > 2)))
        return wrong(word, "takes ", v->named ? "one name" : "no name");
    if (flags->follow && v->run != run_logs)
        return wrong(word, "does not know --follow", "");
    if (flags->json && v->run == run_logs)
        return wrong(word, "has no JSON: it prints what the engine wrote", "");
    *ret = v;
    return 0;
}

/* runtime_dir as `inferd up` would have it. A configuration that this user cannot read, or that is
 * wrong by now, does not keep the running inferd from being asked: then without it. */
static int configured_dir(const struct ctl *ctl, struct str *ret)
{
    struct settings_source src = {.config = ctl->flags->config.p, .env = environ};
    struct settings *settings = NULL;
    struct bundle *bundle = NULL;
    struct conf_errors errors;
    int r;

    error_init(&errors, ctl->arena);
    r = settings_collect(&src, &bundle, &settings, &errors);
    if (r < 0 && !src.config) {
        src.config = "/dev/null";
        error_init(&errors, ctl->arena);
        r = settings_collect(&src, &bundle, &settings, &errors);
    }
    if (r == 0) {
        *ret = arena_str(ctl->arena, settings->runtime_dir);
    } else {
        struct buf text = buf_make(1 << 20);

        error_print_all(&errors, STR("Error: "), &text);
        (void)fwrite(text.p ? text.p : "", 1, text.n, stderr);
        buf_fini(&text);
    }
    settings_unref(&settings);
    bundle_destroy(&bundle);
    return r;
}

static int find_socket(struct ctl *ctl)
{
    struct str dir = ctl->flags->runtime_dir;

    if (!dir.p && configured_dir(ctl, &dir) < 0)
        return -E_CONF;
    ctl->socket = arena_printf(ctl->arena, "%.*s/ctl.sock%c", STR_ARGS(dir), '\0').p;
    return 0;
}

/* The running inferd at the other end of the socket, for what follows. */
static int open_line(struct ctl *c)
{
    int r = find_socket(c);

    if (r == 0 && (r = ctl_call_open(c->socket, &c->line)) < 0)
        complain_of_socket(c, r, false, false);
    return r;
}

bool ctl_apply(struct ctl *c)
{
    struct ctl_question q = {.method = STR("POST"), .target = STR("/reload")};
    struct ctl_reply reply;
    bool good = false;
    int r;

    if (open_line(c) < 0)
        return false;
    r = ctl_call_ask(c->line, &q, &reply);
    if (r == -E_NOT_FOUND || r == -E_REFUSED) {
        (void)fprintf(stderr,
                      "inferd ctl: no inferd runs there (%s): it will read them when it starts\n",
                      c->socket);
        good = true;
    } else if (r < 0) {
        complain_of_socket(c, r, reply.broken, true);
    } else if (reply.status != 200) {
        complain_of_refusal(STR("reload"), &reply);
    } else {
        good = true;
    }
    buf_fini(&reply.body);
    ctl_call_close(&c->line);
    return good;
}

static int obey(struct ctl *c)
{
    const struct verb *verb = NULL;
    int status = read_words(c->flags, &verb);

    if (status)
        return status;
    if (verb->offline)
        return verb->run(c, verb);
    if (open_line(c) < 0)
        return 1;
    status = verb->run(c, verb);
    ctl_call_close(&c->line);
    return status;
}

static int run(int argc, char **argv)
{
    struct ctl_flags flags;
    struct arena arena;
    struct ctl c = {.flags = &flags, .arena = &arena};
    int status;

    arena_init(&arena, NULL);
    status = role_start(ctl_command(), argc, argv, c.arena, &flags, NULL);
    if (status < 0)
        status = obey(&c);
    arena_clear(c.arena);
    return status;
}

static const char manual[] =
    "Commands that read: `status`, `engines`, `models`, `usage`, `logs NAME`. Orders: `start "
    "NAME...` an "
    "engine that is stopped, exited or waits to be restarted; `stop NAME...` at once; `drain "
    "NAME...` when its requests are done; `restart NAME...`, drained first; `reload` the "
    "configuration, as SIGHUP does. An order is answered when it has begun to be carried out.\n\n"
    "API keys: `key new --name NAME` makes one and prints it, this once, with the rights that its "
    "flags say; `key list` shows them; `key revoke ID...` takes them back. All three work on the "
    "file (--file, else keys.file) whether inferd runs or not; a running one is told to reload, "
    "and when the command returns its answers go by the new keys. Who may write the file may give "
    "any right.\n\n"
    "Exit status 0: done; 1: refused, failed, or no inferd is running there, with a sentence on "
    "stderr; 2: the command line is wrong.";

const struct command *ctl_command(void)
{
    static const char *const examples[] = {
        "inferd ctl status",
        "is it up, and what does it carry",
        "inferd ctl engines",
        "every engine with its state, load and models",
        "inferd ctl restart tiny",
        "works off what the engine has, stops it and starts it again",
        "inferd ctl logs tiny -f",
        "what the engine writes, until Ctrl-C",
        "inferd ctl key new --name alice --models 'llama-*' --concurrency 4",
        "a key for some models, four requests at once",
        "inferd ctl key revoke mjqv3ot2xhw6",
        "refused from now on, also on connections that are open",
        "inferd ctl usage",
        "requests and tokens by key and model",
        "inferd ctl --json models",
        "for scripts: one JSON document",
        NULL,
    };
    static const struct command command = {
        .name = "ctl",
        .summary = "ask a running inferd, and give it orders",
        .words = "COMMAND [NAME...]",
        .text = manual,
        .flags = &ctl_flags_options,
        .examples = examples,
        .run = run,
    };

    return &command;
}

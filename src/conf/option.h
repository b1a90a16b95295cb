/* SPDX-License-Identifier: Apache-2.0
 *
 * option.h - option tables: one row is one setting. A table is an X-macro in the folder that uses
 * the settings; the row generates the struct member, the TOML key, the flag, the environment
 * variable, the line of `inferd check --dump` and the reference page:
 *
 *     #define TANK_OPTIONS(X, T)                                                               \
 *         X(T, depth_mm, U32, 500, 1, 9000, RELOAD, "How deep the water is.")                  \
 *         X(T, fish, TABLES(fish), UNSET, 0, 64, RELOAD, "Who swims in it.")
 *     struct tank { TANK_OPTIONS(OPTION_MEMBER, tank) };       in the folder's options.h
 *     OPTION_TABLE(tank, TANK_OPTIONS, "A tank.");             once, in the file that reads it
 *
 * Columns: table, key, type, default, least, most, RELOAD or RESTART, one sentence.
 * Defaults: a number, true or false, a bare word, a "string" without escapes; UNSET (no value: see
 * the list of types) or REQUIRED. Least and most bound numbers, bytes of strings, items of lists
 * and tables.
 *
 * The same rows describe the flags of a subcommand (conf/flags.h). Everything a parsed struct
 * points to lives in the arena it was parsed into; nothing here is changed after that. Rows per
 * table: 64 at most.
 */
#pragma once
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* What a row can hold; behind each its C type and what UNSET leaves there. */
enum option_type {
    OPTION_BOOL,   /* bool; false */
    OPTION_U32,    /* uint32_t; OPTION_UNSET_U32 */
    OPTION_U64,    /* uint64_t; OPTION_UNSET_U64. TOML integers end at 2^63 - 1 */
    OPTION_F64,    /* double; NaN */
    OPTION_STR,    /* struct str, NUL-terminated; p is NULL. ANY(STR), ANY(LIST): see `any` */
    OPTION_NAME,   /* struct str: the key of a named table, as a member of its struct; not a key
                      itself */
    OPTION_WORD,   /* WORD(w): enum w; 0, which is w_unset */
    OPTION_LIST,   /* struct str_list, as a flag repeatable; empty */
    OPTION_COMMAS, /* struct str_list, as a flag "a,b,c"; empty */
    OPTION_REST,   /* struct str_list: the words of a command line that are no flags; flags only */
    OPTION_MAP,    /* struct str_pairs: keys to strings, in byte order of the keys; empty */
    OPTION_FREE,   /* struct str: any table, as JSON text with sorted keys; "{}" */
    OPTION_SUB,    /* TABLE(t): struct t; the defaults of its rows */
    OPTION_TABLES, /* TABLES(t): struct t_list from [[key]]; empty */
    OPTION_NAMED,  /* NAMED(t): struct t_list from [key."name"], sorted by name; empty */
};

#define OPTION_UNSET_U32 UINT32_MAX
#define OPTION_UNSET_U64 UINT64_MAX

/* Whether a reload may change it. */
enum option_when {
    OPTION_RELOAD,  /* takes effect at once */
    OPTION_RESTART, /* the running process keeps the old value and says so */
};

struct str_list {
    struct str *at; /* each NUL-terminated */
    size_t n;
};

struct str_pair {
    struct str key, value; /* each NUL-terminated */
};

struct str_pairs {
    struct str_pair *at; /* sorted by key */
    size_t n;
};

struct option_table;

struct option {
    const char *key;
    enum option_type type;
    enum option_when when;
    size_t offset;    /* of the member */
    const char *dflt; /* as written in the row */
    int64_t least, most;
    const char *text;         /* one sentence or two, with full stops */
    const char *const *words; /* WORD: [0] is NULL, then the words in the enum's order */
    size_t words_n;
    const struct option_table *table; /* SUB, TABLES, NAMED */
    const char *by;     /* TABLES_BY: the key that a repeatable flag of this name sets */
    const char *letter; /* SHORT: "f" for -f */
    bool any;           /* ANY: as a flag it takes the next word whatever it looks like */
};

struct option_table {
    const char *name;
    const struct option *rows;
    size_t n;     /* at most 64 */
    size_t bytes; /* of the struct */
    const char *text;
};

/* struct engine_conf_list for TABLES(engine_conf) and NAMED(engine_conf). */
#define OPTION_LIST_OF(T)                                                                          \
    struct T##_list {                                                                              \
        struct T *at;                                                                              \
        size_t n;                                                                                  \
    }

/* enum w { w_unset, ... }: WORDS(X) lists X(ENUMERATOR, "word"). */
#define OPTION_ENUM(w, WORDS) enum w { w##_unset, WORDS(OPTION_ENUM_ITEM_) }
#define OPTION_ENUM_ITEM_(enumerator, word) enumerator,
/* The table of words behind it, static: [w_unset] is NULL. */
#define OPTION_WORDS(w, WORDS)                                                                     \
    static const char *const w##_words[] = {NULL, WORDS(OPTION_WORD_ITEM_)}
#define OPTION_WORD_ITEM_(enumerator, word) word,

#include "conf/option_row.h" /* OPTION_MEMBER, OPTION_ROW, OPTION_TABLE */

/* True for what fits one flag and one variable: numbers, booleans, strings, words. */
bool option_is_scalar(const struct option *o);
bool option_is_required(const struct option *o);
/* NULL when the table has no such key. */
const struct option *option_find(const struct option_table *t, struct str key);
/* The key of the table that is nearest to a misspelt one; NULL when none is near. */
const char *option_nearest(const struct option_table *t, struct str key);
/* The rule behind it: whether `candidate` is near enough, and nearer than *best (start: UINT_MAX).
 */
bool option_nearer(struct str wrong, struct str candidate, unsigned *best);

/* Writes the default of every row of `t`, nested tables included, into *base. */
void option_defaults(const struct option_table *t, void *base, struct arena *a);
/* The member's place in a struct. */
static inline void *option_member(const struct option *o, void *base)
{
    return (char *)base + o->offset;
}
static inline const void *option_member_const(const struct option *o, const void *base)
{
    return (const char *)base + o->offset;
}

/* Setters: -E_CONF and a sentence in `problem` that names the bound when the value does not do.
 * Strings are copied into the arena. */
int option_set_integer(const struct option *o, void *base, int64_t v,
                       struct buf *problem) MUSTCHECK; /* U32, U64, F64 */
int option_set_double(const struct option *o, void *base, double v,
                      struct buf *problem) MUSTCHECK; /* F64 */
int option_set_str(const struct option *o, void *base, struct arena *a, struct str v,
                   struct buf *problem) MUSTCHECK; /* STR, NAME, WORD */
/* Any scalar, LIST (it becomes the one item) and COMMAS, from a flag's or variable's text. */
int option_set_text(const struct option *o, void *base, struct arena *a, struct str text,
                    struct buf *problem) MUSTCHECK;
/* LIST and REST: appends one item; counts are not checked. */
int option_add_text(const struct option *o, void *base, struct arena *a, struct str text,
                    struct buf *problem) MUSTCHECK;
/* Whether option_set_text() would take it: nothing is set. For TABLES_BY: the key it sets. */
int option_check_text(const struct option *o, struct str text, struct buf *problem) MUSTCHECK;
/* What a string and a number of items must fulfil: the same codes and sentences. */
int option_check_str(const struct option *o, struct str v, struct buf *problem) MUSTCHECK;
int option_check_count(const struct option *o, size_t n, struct buf *problem) MUSTCHECK;

/* The value as TOML has it ("4", "\"x\"", "[\"a\"]"), "unset" for none; values of a MAP are hidden.
 * Not for tables. */
void option_print(const struct option *o, const void *base, struct buf *out);
/* A TOML string with its quotes. */
void option_print_str(struct str s, struct buf *out);
/* A TOML key: bare when it can be. */
void option_print_key(struct str key, struct buf *out);
/* "integer", "list of strings": for people. Static. */
const char *option_type_text(const struct option *o);
/* "limits.connect_ms" to "limits-connect-ms", to "INFERD_LIMITS_CONNECT_MS". */
void option_flag_name(struct str path, struct buf *out);
void option_env_name(struct str path, struct buf *out);

/* Visits every row that may be a flag (scalars and TABLES_BY, through TABLE rows, in the order of
 * the rows): `path` is "limits.connect_ms". Stops at the first non-zero return and returns it. */
typedef int option_visit_fn(void *ctx, struct str path, const struct option *o);
int option_each_flag(const struct option_table *t, option_visit_fn *fn, void *ctx);
/* Finds the row of such a path and the struct its member lies in. */
bool option_resolve(const struct option_table *t, void *base, struct str path,
                    const struct option **ret_row, void **ret_base);
/* Appends the paths marked RESTART whose values differ between two parsed structs, ", "-separated.
 */
void option_restarts(const struct option_table *t, const void *was, const void *is,
                     struct buf *out);

/* SPDX-License-Identifier: Apache-2.0
 *
 * completion.c - see completion.h. Flags, words of flags that take one of a few, files and
 * directories for flags that take those. Names of units are not asked from a running inferd.
 */
#include "conf/completion.h"

#include "conf/help.h"

enum { NAME_BYTES = 256, TEXT_BYTES = 2048 };

struct page {
    const struct command *command;
    struct buf *out;
};

static void flag_name(struct str path, struct buf *out)
{
    buf_text(out, "--");
    option_flag_name(path, out);
}

static bool takes_file(const struct option *o)
{
    const char *value = help_value_name(o);

    return value && str_eq(str_of(value), STR("FILE"));
}

static bool takes_dir(const struct option *o)
{
    const char *value = help_value_name(o);

    return value && str_eq(str_of(value), STR("DIR"));
}

static void words(const struct option *o, struct buf *out)
{
    for (size_t i = 1; i < o->words_n; i++)
        buf_printf(out, "%s%s", i == 1 ? "" : " ", o->words[i]);
}

/* Without what would end a quoted string, or means something in one. */
static void harmless(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.n; i++)
        if (!strchr("'\"[]:\\`$", text.p[i]))
            buf_char(out, text.p[i]);
}

/* The first sentence, without its full stop. */
static void summary(const struct option *o, struct buf *out)
{
    struct str text = str_of(o->text), head = str_head(text, str_find_str(text, STR(". ")));

    if (head.n && head.p[head.n - 1] == '.')
        head.n--;
    harmless(head, out);
}

/* --- bash --- */

static int bash_flag(void *ctx, struct str path, const struct option *o)
{
    struct page *p = ctx;

    buf_char(p->out, ' ');
    flag_name(path, p->out);
    if (o->letter)
        buf_printf(p->out, " -%s", o->letter);
    return 0;
}

static int bash_value(void *ctx, struct str path, const struct option *o)
{
    struct page *p = ctx;

    if (o->type == OPTION_BOOL)
        return 0;
    buf_printf(p->out, "    %s:", p->command->name);
    flag_name(path, p->out);
    buf_text(p->out, ") ");
    if (takes_file(o))
        buf_text(p->out, "_inferd_reply -f ");
    else if (takes_dir(o))
        buf_text(p->out, "_inferd_reply -d ");
    else if (o->words_n) {
        buf_text(p->out, "_inferd_reply -W \"");
        words(o, p->out);
        buf_text(p->out, "\" ");
    }
    buf_text(p->out, ";;\n"); /* without any: nothing is offered for a number */
    return 0;
}

void completion_bash(const struct command *const *commands, const struct option_table *settings,
                     struct buf *out)
{
    buf_text(out, "# bash completion of inferd, written by `inferd help --format bash`\n"
                  "_inferd_reply() { # as compgen's arguments; uses cur\n"
                  "  case $1 in -[fd]) compopt -o filenames 2>/dev/null ;; esac\n"
                  "  mapfile -t COMPREPLY < <(compgen \"$@\" -- \"$cur\")\n"
                  "}\n"
                  "_inferd() {\n"
                  "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} flags\n"
                  "  COMPREPLY=()\n"
                  "  if [ \"$cur\" = = ]; then # --flag=: the shell splits there\n"
                  "    cur=\n"
                  "  elif [ \"$prev\" = = ] && [ \"$COMP_CWORD\" -gt 2 ]; then\n"
                  "    prev=${COMP_WORDS[COMP_CWORD-2]}\n"
                  "  fi\n"
                  "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                  "    _inferd_reply -W \"");
    for (size_t i = 0; commands[i]; i++)
        if (!commands[i]->hidden)
            buf_printf(out, "%s ", commands[i]->name);
    buf_text(out, "--help --version\"\n    return\n  fi\n"
                  "  case ${COMP_WORDS[1]}:$prev in\n");
    for (size_t i = 0; commands[i]; i++)
        if (!commands[i]->hidden)
            (void)help_each_flag(commands[i], settings, bash_value,
                                 &(struct page){commands[i], out});
    buf_text(out, "    *)\n      case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; commands[i]; i++) {
        if (commands[i]->hidden)
            continue;
        buf_printf(out, "        %s) flags=\"--help --version", commands[i]->name);
        (void)help_each_flag(commands[i], settings, bash_flag, &(struct page){commands[i], out});
        buf_text(out, "\" ;;\n");
    }
    buf_text(out, "        *) flags= ;;\n      esac\n"
                  "      _inferd_reply -W \"$flags\" ;;\n"
                  "  esac\n}\ncomplete -F _inferd inferd\n");
}

/* --- zsh --- */

static int zsh_flag(void *ctx, struct str path, const struct option *o)
{
    struct page *p = ctx;
    const char *value = help_value_name(o);
    bool repeats = o->type == OPTION_LIST || o->by;

    buf_text(p->out, repeats ? "        '*" : "        '");
    flag_name(path, p->out);
    buf_text(p->out, value ? "=[" : "[");
    summary(o, p->out);
    buf_char(p->out, ']');
    if (value)
        buf_printf(p->out, ":%s:", value);
    if (o->words_n) {
        buf_char(p->out, '(');
        words(o, p->out);
        buf_char(p->out, ')');
    } else if (takes_file(o) || takes_dir(o)) {
        buf_text(p->out, takes_file(o) ? "_files" : "_files -/");
    }
    buf_text(p->out, "' \\\n");
    return 0;
}

static void zsh_command(const struct command *c, struct buf *out)
{
    buf_printf(out, "      '%s:", c->name);
    harmless(str_of(c->summary), out);
    buf_text(out, "'\n");
}

void completion_zsh(const struct command *const *commands, const struct option_table *settings,
                    struct buf *out)
{
    buf_text(out,
             "#compdef inferd\n# zsh completion of inferd, written by `inferd help --format zsh`\n"
             "_inferd() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(\n");
    for (size_t i = 0; commands[i]; i++)
        if (!commands[i]->hidden)
            zsh_command(commands[i], out);
    buf_text(out, "    )\n    _describe command commands\n    return\n  fi\n"
                  "  local name=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $name in\n");
    for (size_t i = 0; commands[i]; i++) {
        if (commands[i]->hidden)
            continue;
        buf_printf(out, "    %s)\n      _arguments \\\n", commands[i]->name);
        (void)help_each_flag(commands[i], settings, zsh_flag, &(struct page){commands[i], out});
        buf_text(out, "        '--help[help]' '--version[the version]' ;;\n");
    }
    buf_text(out, "  esac\n}\n_inferd \"$@\"\n");
}

/* --- fish --- */

static int fish_flag(void *ctx, struct str path, const struct option *o)
{
    struct page *p = ctx;

    buf_printf(p->out, "complete -c inferd -n '__fish_seen_subcommand_from %s' -l ",
               p->command->name);
    option_flag_name(path, p->out);
    if (o->letter)
        buf_printf(p->out, " -s %s", o->letter);
    if (o->type != OPTION_BOOL)
        buf_text(p->out, takes_file(o) || takes_dir(o) ? " -r -F" : " -x");
    if (o->words_n) {
        buf_text(p->out, " -a '");
        words(o, p->out);
        buf_char(p->out, '\'');
    }
    buf_text(p->out, " -d '");
    summary(o, p->out);
    buf_text(p->out, "'\n");
    return 0;
}

void completion_fish(const struct command *const *commands, const struct option_table *settings,
                     struct buf *out)
{
    buf_text(out, "# fish completion of inferd, written by `inferd help --format fish`\n"
                  "complete -c inferd -f\n"
                  "complete -c inferd -l help -s h -d 'help'\n"
                  "complete -c inferd -l version -d 'the version'\n");
    for (size_t i = 0; commands[i]; i++) {
        if (commands[i]->hidden)
            continue;
        buf_printf(out, "complete -c inferd -n __fish_use_subcommand -a %s -d '",
                   commands[i]->name);
        harmless(str_of(commands[i]->summary), out);
        buf_text(out, "'\n");
        (void)help_each_flag(commands[i], settings, fish_flag, &(struct page){commands[i], out});
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * option_row.h - what a row of an option table becomes: a member of a struct, and an entry of the
 * static table. Included by conf/option.h, which says how rows are written; a new type of row needs
 * one line in each list here.
 */
#pragma once

/* The C type of each type of row. */
#define OPTION_MEMBER(T, key, TYPE, dflt, least, most, when, text) OPTION_C_##TYPE key;
#define OPTION_C_BOOL bool
#define OPTION_C_SHORT(c) bool
#define OPTION_C_U32 uint32_t
#define OPTION_C_U64 uint64_t
#define OPTION_C_F64 double
#define OPTION_C_STR struct str
#define OPTION_C_NAME struct str
#define OPTION_C_WORD(w) enum w
#define OPTION_C_LIST struct str_list
#define OPTION_C_COMMAS struct str_list
#define OPTION_C_REST struct str_list
#define OPTION_C_ANY(TYPE) OPTION_C_##TYPE
#define OPTION_C_MAP struct str_pairs
#define OPTION_C_FREE struct str
#define OPTION_C_TABLE(t) struct t
#define OPTION_C_TABLES(t) struct t##_list
#define OPTION_C_TABLES_BY(t, key) struct t##_list
#define OPTION_C_NAMED(t) struct t##_list

/* The entry of each type of row. */
#define OPTION_ROW(T, key_, TYPE, dflt_, least_, most_, when_, text_)                              \
    {.key = #key_,                                                                                 \
     OPTION_R_##TYPE,                                                                              \
     .offset = offsetof(struct T, key_),                                                           \
     .dflt = #dflt_,                                                                               \
     .least = (least_),                                                                            \
     .most = (most_),                                                                              \
     .when = OPTION_##when_,                                                                       \
     .text = text_},
#define OPTION_R_BOOL .type = OPTION_BOOL
#define OPTION_R_SHORT(c) .type = OPTION_BOOL, .letter = #c
#define OPTION_R_U32 .type = OPTION_U32
#define OPTION_R_U64 .type = OPTION_U64
#define OPTION_R_F64 .type = OPTION_F64
#define OPTION_R_STR .type = OPTION_STR
#define OPTION_R_NAME .type = OPTION_NAME
#define OPTION_R_WORD(w) .type = OPTION_WORD, .words = w##_words, .words_n = ARRAY_LEN(w##_words)
#define OPTION_R_LIST .type = OPTION_LIST
#define OPTION_R_COMMAS .type = OPTION_COMMAS
#define OPTION_R_REST .type = OPTION_REST
#define OPTION_R_ANY(TYPE) OPTION_R_##TYPE, .any = true
#define OPTION_R_MAP .type = OPTION_MAP
#define OPTION_R_FREE .type = OPTION_FREE
#define OPTION_R_TABLE(t) .type = OPTION_SUB, .table = &t##_options
#define OPTION_R_TABLES(t) .type = OPTION_TABLES, .table = &t##_options
#define OPTION_R_TABLES_BY(t, key_) .type = OPTION_TABLES, .table = &t##_options, .by = #key_
#define OPTION_R_NAMED(t) .type = OPTION_NAMED, .table = &t##_options

/* Defines the static T_options; tables it mentions must be defined before it. */
#define OPTION_TABLE(T, OPTIONS, text_)                                                            \
    static const struct option T##_rows[] = {OPTIONS(OPTION_ROW, T)};                              \
    static const struct option_table T##_options = {.name = #T,                                    \
                                                    .rows = T##_rows,                              \
                                                    .n = ARRAY_LEN(T##_rows),                      \
                                                    .bytes = sizeof(struct T),                     \
                                                    .text = text_}

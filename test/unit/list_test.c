/* SPDX-License-Identifier: Apache-2.0
 *
 * list_test.c - the intrusive ring: order, harmless removal, removal while walking.
 */
#include "unit.h"

#include "base/list.h"

struct item {
    int n;
    struct list link;
};

static void spell(struct list *head, char *to)
{
    struct item *it;

    list_each(it, head, link) *to++ = (char)('0' + it->n);
    *to = '\0';
}

static void assert_spells(struct list *head, const char *expected)
{
    char text[16];

    spell(head, text);
    assert_string_equal(text, expected);
}

static void test_order(void **state)
{
    struct item item[4] = {{.n = 0}, {.n = 1}, {.n = 2}, {.n = 3}};
    struct list head;

    (void)state;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_null(list_shift(&head));
    assert_null(list_first(&head, struct item, link));
    assert_spells(&head, "");
    for (int i = 0; i < 3; i++)
        list_append(&head, &item[i].link);
    list_prepend(&head, &item[3].link);
    assert_spells(&head, "3012");
    assert_ptr_equal(list_first(&head, struct item, link), &item[3]);
    list_remove(&item[0].link);
    assert_spells(&head, "312");
    list_remove(&item[0].link); /* twice is harmless */
    assert_true(list_empty(&item[0].link));
    assert_ptr_equal(list_shift(&head), &item[3].link);
    list_append(&head, &item[3].link);
    assert_spells(&head, "123");
}

static void test_walk_survives_removal_of_the_current(void **state)
{
    struct item item[5], *it;
    struct list head;
    int seen = 0;

    (void)state;
    list_init(&head);
    for (int i = 0; i < 5; i++) {
        item[i].n = i;
        list_append(&head, &item[i].link);
    }
    list_each(it, &head, link)
    {
        seen++;
        if (it->n % 2 == 0) {
            list_remove(&it->link);
            memset(it, 0xee, sizeof *it);
        }
    }
    assert_int_equal(seen, 5);
    assert_spells(&head, "13");
}

static void test_walk_ends_by_break_on_the_item(void **state)
{
    struct item item[3] = {{.n = 0}, {.n = 1}, {.n = 2}}, *it;
    struct list head;

    (void)state;
    list_init(&head);
    for (int i = 0; i < 3; i++)
        list_append(&head, &item[i].link);
    list_each(it, &head, link) if (it->n == 1) break;
    assert_ptr_equal(it, &item[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_walk_survives_removal_of_the_current),
        cmocka_unit_test(test_walk_ends_by_break_on_the_item),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

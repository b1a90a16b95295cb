/* SPDX-License-Identifier: Apache-2.0
 *
 * link.c - the words of link.h as text.
 */
#include "link/link.h"

#define UNIT_STATE_AS_WORD(name, word, text) [name] = word,
static const char *const words[] = {UNIT_STATES(UNIT_STATE_AS_WORD)};

const char *link_state_word(enum unit_state s)
{
    return (size_t)s < ARRAY_LEN(words) ? words[s] : "?";
}

bool link_state_runs(enum unit_state s)
{
    switch (s) {
    case UNIT_STARTING:
    case UNIT_LOADING:
    case UNIT_READY:
    case UNIT_UNRESPONSIVE:
    case UNIT_DRAINING:
    case UNIT_STOPPING:
        return true;
    case UNIT_STOPPED:
    case UNIT_BACKOFF:
    case UNIT_PARKED:
    case UNIT_EXITED:
    case UNIT_STATES_N:
        break;
    }
    return false;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * jsonscan_portable.c - the scanner once more, as a machine without SSE2 gets it, under other
 * names: tests and fuzz targets hold the two against each other in one program.
 */
#define JSONSCAN_PORTABLE 1
#define jsonscan_init jsonscan_portable_init
#define jsonscan_feed jsonscan_portable_feed
#define jsonscan_finish jsonscan_portable_finish
#include "base/jsonscan.c"

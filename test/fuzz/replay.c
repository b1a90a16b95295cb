/* SPDX-License-Identifier: Apache-2.0
 *
 * replay.c - runs a fuzz target over files, where libFuzzer is not linked.
 *
 * Every file of the folders (or single files) on the command line is one input. The targets assert
 * what must hold, so "it came back" is the verdict; a finding aborts with the input's name as the
 * last line. An empty or missing corpus is a failure: a replay of nothing proves nothing. Each
 * input is copied to a heap block of exactly its size, so that a sanitizer sees a read one byte
 * beyond. One thread, test code only.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes of the open file in a block of the caller's to free, or NULL. */
static uint8_t *slurp(FILE *f, size_t *ret_size)
{
    struct stat st;
    if (fstat(fileno(f), &st) < 0)
        return NULL;
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (data && fread(data, 1, size, f) != size) {
        free(data);
        return NULL;
    }
    *ret_size = size;
    return data;
}

static int replay_file(const char *path)
{
    size_t size = 0;
    FILE *f = fopen(path, "rb");
    uint8_t *data = f ? slurp(f, &size) : NULL;
    if (f)
        fclose(f);
    if (!data) {
        perror(path);
        return -1;
    }
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

/* How many inputs ran, or -1. */
static int replay_folder(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) {
        perror(path);
        return -1;
    }
    int count = 0;
    for (struct dirent *e = readdir(dir); e && count >= 0; e = readdir(dir)) {
        char file[4096];
        if (e->d_name[0] == '.')
            continue;
        snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        count = replay_file(file) < 0 ? -1 : count + 1;
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool folder = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        int count = folder ? replay_folder(argv[i]) : replay_file(argv[i]);
        if (count < 0)
            return 1;
        total += count;
    }
    printf("%d inputs replayed\n", total);
    return total > 0 ? 0 : 1;
}

// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over every file of a directory: what was found once stays found.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    uint8_t *data;

    if (!f || fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode)) {
        if (f)
            fclose(f);
        return;
    }
    // Exactly as long as the file, so that a sanitizer sees a read past its end.
    data = malloc((size_t)st.st_size + (st.st_size == 0));
    if (data && fread(data, 1, (size_t)st.st_size, f) == (size_t)st.st_size)
        LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
    free(data);
    fclose(f);
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    struct dirent *entry;
    int count = 0;

    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    while (dir && (entry = readdir(dir)) != NULL) {
        char path[4096];

        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        replay(path);
        count++;
    }
    if (dir)
        closedir(dir);
    printf("%d inputs replayed\n", count);
    return 0;
}

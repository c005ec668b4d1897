/* A fake NVML for tests: FAKE_GPUS has the UUIDs, a comma between two GPUs, a plus between two MIG instances
   of one; `-` is a GPU that may not be opened. */
#include <stdlib.h>
#include <string.h>

#define MOST 16
static char text[MOST][MOST][96];
static int instances[MOST], count;

int nvmlInit_v2(void)
{
    const char *fake = getenv("FAKE_GPUS");
    count = 0;
    if (fake == NULL || strcmp(fake, "broken") == 0)
        return 9; /* NVML_ERROR_DRIVER_NOT_LOADED */
    char *copy = strdup(fake), *outer = NULL;
    for (char *gpu = strtok_r(copy, ",", &outer); gpu; gpu = strtok_r(NULL, ",", &outer)) {
        char *inner = NULL;
        instances[count] = 0;
        for (char *one = strtok_r(gpu, "+", &inner); one; one = strtok_r(NULL, "+", &inner))
            strncpy(text[count][instances[count]++], one, 95);
        count++;
    }
    free(copy);
    return 0;
}

int nvmlShutdown(void) { return 0; }

int nvmlDeviceGetCount_v2(unsigned *answer)
{
    *answer = count;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned number, void **answer)
{
    *answer = text[number][0];
    return strcmp(text[number][0], "-") == 0 ? 4 : 0; /* NVML_ERROR_NO_PERMISSION */
}

static int number_of(char *gpu) { return (gpu - text[0][0]) / (int)sizeof text[0]; }

int nvmlDeviceGetMigMode(void *gpu, unsigned *mode, unsigned *pending)
{
    *mode = *pending = instances[number_of(gpu)] > 1;
    return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(void *gpu, unsigned *answer)
{
    *answer = 7;
    return 0;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *gpu, unsigned number, void **answer)
{
    if ((int)number >= instances[number_of(gpu)])
        return 6; /* NVML_ERROR_NOT_FOUND */
    *answer = text[number_of(gpu)][number];
    return 0;
}

int nvmlDeviceGetUUID(void *device, char *answer, unsigned size)
{
    strncpy(answer, device, size);
    return 0;
}

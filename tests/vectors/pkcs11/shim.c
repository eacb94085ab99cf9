/* A PKCS#11 module in front of SoftHSM that misbehaves as the variable SHIM says: it hangs when it is loaded, hangs
 * when it is to sign until the file in SHIM_GATE is there, or signs wrongly. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The standard's list: a version, then pointers in a fixed order, of which C_Sign is number 43 counted from 0. */
enum { FUNCTIONS = 68, SIGN = 43 };
struct list { unsigned char version[2]; void *functions[FUNCTIONS]; };
typedef unsigned long (*sign_fn)(unsigned long, unsigned char *, unsigned long, unsigned char *, unsigned long *);

static struct list shim;
static sign_fn real_sign;

static int mode(const char *name) {
    const char *wanted = getenv("SHIM");
    return wanted && strcmp(wanted, name) == 0;
}

static unsigned long sign(unsigned long session, unsigned char *data, unsigned long length, unsigned char *out,
                          unsigned long *out_length) {
    while (mode("hang_to_sign") && access(getenv("SHIM_GATE"), F_OK) != 0) usleep(2000);
    unsigned long result = real_sign(session, data, length, out, out_length);
    if (mode("forge") && result == 0 && out && *out_length > 0) out[*out_length - 1] ^= 1;
    return result;
}

unsigned long C_GetFunctionList(struct list **list) {
    while (mode("hang_to_load")) pause();
    void *library = dlopen(getenv("SHIM_MODULE"), RTLD_NOW);
    unsigned long (*get)(struct list **) = library ? (unsigned long (*)(struct list **))dlsym(library, "C_GetFunctionList") : 0;
    struct list *real;
    if (!get || get(&real) != 0) return 5;
    shim = *real;
    real_sign = (sign_fn)shim.functions[SIGN];
    shim.functions[SIGN] = (void *)sign;
    *list = &shim;
    return 0;
}

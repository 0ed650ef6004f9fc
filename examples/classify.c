/* cc -O2 classify.c -o classify -lm && ./classify couplings.txt t10k-images-idx3-ubyte 0 offset scale norm kT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
enum { IN = 784, HIDDEN = 64, OUT = 10, N = HIDDEN + OUT };
static double W[IN][N], J[N][N], h[N], X[IN], x[N], force[N];
static double next(FILE *f) { double v; if (fscanf(f, "%lf", &v) != 1) exit(3); return v; }
static double normal(void) { double u = (rand() + 1.0) / (RAND_MAX + 2.0); return sqrt(-2 * log(u)) * cos(6.283185307 * rand() / RAND_MAX); }
int main(int argc, char **argv) {
    FILE *f = argc == 8 ? fopen(argv[1], "r") : NULL, *images = argc == 8 ? fopen(argv[2], "rb") : NULL;
    if (!f || !images || fseek(images, 16 + IN * atol(argv[3]), SEEK_SET)) return 2;
    double dt = 1e-3, kT = atof(argv[7]), square = 0;
    for (int i = 0; i < 2 * IN; i++) next(f); /* bonds among clamped inputs do nothing */
    for (int i = 0; i < IN; i++) for (int j = 0; j < HIDDEN; j++) W[i][j] = next(f);
    for (int i = 0; i < HIDDEN; i++) for (int j = 0; j < i; j++) J[i][j] = J[j][i] = next(f);
    for (int i = 0; i < HIDDEN; i++) for (int j = HIDDEN; j < N; j++) J[i][j] = J[j][i] = next(f);
    for (int i = HIDDEN; i < N; i++) for (int j = HIDDEN; j < i; j++) J[i][j] = J[j][i] = next(f);
    for (int i = 0; i < IN; i++) for (int j = HIDDEN; j < N; j++) W[i][j] = next(f);
    for (int i = 0; i < IN; i++) next(f); /* nor do their biases */
    for (int i = 0; i < N; i++) h[i] = next(f);
    for (int i = 0; i < IN; i++) X[i] = (fgetc(images) / 255.0 - atof(argv[4])) / atof(argv[5]), square += X[i] * X[i];
    for (int i = 0; i < IN; i++) for (int j = 0; j < N; j++) h[j] += atof(argv[6]) / sqrt(square) * X[i] * W[i][j];
    for (int step = 0; step < 200; step++) {
        for (int i = 0; i < N; i++) for (int j = force[i] = 0; j < N; j++) force[i] -= J[i][j] * x[j];
        for (int i = 0; i < N; i++) x[i] += (force[i] - 2 * x[i] - 4 * pow(x[i], 3) - h[i]) * dt + sqrt(2 * kT * dt) * normal();
    }
    int best = HIDDEN; /* the largest output */
    for (int i = HIDDEN; i < N; i++) if (x[i] > x[best]) best = i;
    printf("%d\n", best - HIDDEN);
}

// HTTP load on 127.0.0.1. In a closed loop N clients each send the next request when they have an answer. In an open loop
// R requests a second fall due at random, whatever the server does; an answer's time counts from when its request was due.
//
//   load PORT WARM_UP SECONDS clients N FILE...     load PORT WARM_UP SECONDS rate R FILE...
//
// Each FILE holds one whole request; the files take turns. Prints a line for each request that fell due or was answered in
// the SECONDS after the warm-up: its status (0: no answer), when it was due, and how long the answer took. The last two
// lines are the number of all answers, those of the warm-up too, and the share of a core that this program used.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MOST 4096      // connections
#define HEAD 16384     // bytes of an answer that are kept; its head must fit
#define PATIENCE 10.0  // seconds to wait for answers after the end, so that the next load finds the server idle;
                       // also the longest extension of a closed loop's warm-up, until every client has had an answer

typedef struct { char *bytes; size_t size; } Request;
typedef struct {
    int fd;              // -1: closed
    int waiting;         // for an answer
    const Request *request;
    size_t sent, got;    // bytes sent of the request; bytes received of the answer's head
    long left;           // bytes of the answer's body still to come; -1: the head is incomplete
    int status, last;    // last: the server closes the connection after this answer
    double due;
    char head[HEAD + 1];
} Client;

static Client *clients[MOST];
static int count, idle[MOST], idles, poller, port;
static Request *requests;
static int request_count, turn;
static double began, until = INFINITY;  // of the measured time
static long answered, waiting;
static int is_open;  // an open loop

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *why) {
    fprintf(stderr, "load: %s\n", why);
    exit(1);
}

static void watch(int i, int operation) {
    Client *c = clients[i];
    int sending = c->request && c->sent < c->request->size;
    struct epoll_event event = {EPOLLIN | (sending ? EPOLLOUT : 0), {.u32 = i}};
    epoll_ctl(poller, operation, c->fd, &event);
}

static void connect_client(int i) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die(strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) die(strerror(errno));
    clients[i]->fd = fd;
    watch(i, EPOLL_CTL_ADD);
}

static int new_client(void) {
    if (count == MOST) die("too many requests are waiting");
    clients[count] = calloc(1, sizeof(Client));
    clients[count]->fd = -1;
    return count++;
}

static void begin(int i, double due) {
    Client *c = clients[i];
    c->request = &requests[turn++ % request_count];
    c->sent = c->got = 0;
    c->left = -1;
    c->status = c->last = 0;
    c->waiting = 1;
    waiting++;
    c->due = due;
    if (c->fd < 0) connect_client(i);
    else watch(i, EPOLL_CTL_MOD);
}

static void record(Client *c, double done) {
    c->waiting = 0;
    waiting--;
    answered++;
    if ((c->due >= began && c->due < until) || (done >= began && done < until))
        printf("%d %.6f %.6f\n", c->status, c->due - began, done - c->due);
}

static void drop(Client *c) {
    close(c->fd);
    c->fd = -1;
}

// Read the head of an answer: status, length of the body, and whether the server closes the connection afterwards.
static void read_head(Client *c) {
    c->head[c->got] = 0;
    char *end = strstr(c->head, "\r\n\r\n"), *line = c->head;
    if (!end && c->got == HEAD) die("an answer's head is too long");
    if (!end) return;
    if (sscanf(line, "HTTP/1.%*d %d", &c->status) != 1) die("an answer is not HTTP/1");
    long length = -1;
    while ((line = strstr(line, "\r\n")) && line < end) {
        line += 2;
        if (!strncasecmp(line, "content-length:", 15)) length = atol(line + 15);
        if (!strncasecmp(line, "connection: close", 17)) c->last = 1;
    }
    if (length < 0) die("an answer has no Content-Length");
    c->left = length - (long)(c->got - (end + 4 - c->head));
}

// Send and receive as much as possible; return whether the client is free for another request.
static int go_on(int i) {
    Client *c = clients[i];
    static char scrap[65536];
    ssize_t n = 1;
    if (c->sent < c->request->size) {
        n = send(c->fd, c->request->bytes + c->sent, c->request->size - c->sent, MSG_NOSIGNAL);
        if (n > 0 && (c->sent += n) == c->request->size) watch(i, EPOLL_CTL_MOD);
    }
    while (c->left) {
        if (c->left > 0) n = recv(c->fd, scrap, sizeof scrap, 0);
        else n = recv(c->fd, c->head + c->got, HEAD - c->got, 0);
        if (n <= 0) break;
        if (c->left > 0) c->left -= n;
        else c->got += n, read_head(c);
    }
    int gone = n == 0 || (n < 0 && errno != EAGAIN && errno != ENOTCONN);
    if (c->waiting && (c->left == 0 || gone)) record(c, now());
    if (gone || (c->left == 0 && c->last)) drop(c);
    return !c->waiting && (c->fd < 0 || c->sent == c->request->size);
}

static void read_requests(char **files, int number) {
    requests = calloc(request_count = number, sizeof(Request));
    for (int i = 0; i < number; i++) {
        FILE *file = fopen(files[i], "rb");
        if (!file) die(files[i]);
        fseek(file, 0, SEEK_END);
        requests[i].bytes = malloc(requests[i].size = ftell(file));
        rewind(file);
        if (fread(requests[i].bytes, 1, requests[i].size, file) != requests[i].size) die(files[i]);
        fclose(file);
    }
}

static double used(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
    if (argc < 7) die("PORT WARM_UP SECONDS clients|rate NUMBER FILE...");
    port = atoi(argv[1]);
    double warm_up = atof(argv[2]), seconds = atof(argv[3]), number = atof(argv[5]), started = now();
    is_open = !strcmp(argv[4], "rate");
    double due = is_open ? started : INFINITY, stop = INFINITY, over = INFINITY, before = 0, after = 0;
    read_requests(argv + 6, argc - 6);
    poller = epoll_create1(0);
    signal(SIGPIPE, SIG_IGN);
    srand48(1);
    began = INFINITY;
    if (!is_open)
        for (int i = 0; i < (int)number; i++) begin(new_client(), started);
    for (double t = started; t < stop; t = now()) {
        int is_warm = is_open || answered >= number || t >= started + warm_up + PATIENCE;
        if (isinf(began) && t >= started + warm_up && is_warm) {
            began = t, until = t + seconds, stop = until + PATIENCE, before = used();
        }
        for (; due <= t && due < until; due += -log(1 - drand48()) / number)
            begin(idles ? idle[--idles] : new_client(), due);
        if (t >= until && isinf(over)) over = t, after = used();
        if (t >= until && !waiting) break;
        struct epoll_event events[256];
        double next_change = t < until ? until : stop;  // of what the loop does
        if (isinf(began)) next_change = started + warm_up;
        double wait = fmin(fmin(due < until ? due : INFINITY, next_change) - t, 0.1);
        int wait_ms = wait > 0 ? (int)ceil(wait * 1e3) : isinf(began);
        int ready = epoll_wait(poller, events, 256, wait_ms);
        for (int e = 0; e < ready; e++) {
            int i = events[e].data.u32;
            Client *c = clients[i];
            if (c->fd < 0) continue;
            if (!c->waiting && c->request && c->sent == c->request->size) drop(c);  // idle; the server closes it
            else if (go_on(i)) {
                if (is_open || now() >= until) idle[idles++] = i;
                else begin(i, now());
            }
        }
    }
    long complete = answered;  // the next lines record those that got no answer
    for (int i = 0; i < count; i++)
        if (clients[i]->waiting) clients[i]->status = 0, record(clients[i], now());
    printf("answered %ld\ncore %.4f\n", complete, (after - before) / (over - began));
}

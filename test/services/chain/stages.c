/*
 * A link of a chain, see node.mjs: in C, by threads that hand requests to each other. One thread waits for connections (and, of those that
 * are kept, for their next request). MODE:
 * `blocking`, the thread that takes a request does all of it;
 * `stages`, any of the threads does the next step of any request: takes it, makes a call, answers; the oldest step first;
 * `latest`, likewise, the latest step first;
 * `caller`, one thread makes all calls;
 * `steal`, the thread that has taken a request does another's calls while its own are being made.
 * THREADS: how many. WAIT=select: a response is waited for by select.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define NEXT_MAX 8
struct request {
	int fd, at;
	char path[256];
	sem_t done;
};
struct step {
	struct request *request;
	void (*run)(struct request *);
	int index;
};
static struct queue {
	pthread_mutex_t lock;
	sem_t count;
	struct step steps[4096];
	unsigned head, tail;
} work = { .lock = PTHREAD_MUTEX_INITIALIZER }, calls = { .lock = PTHREAD_MUTEX_INITIALIZER };
static int next_ports[NEXT_MAX], next_count, loop, is_latest, selects;
static const char *mode;
static __thread int kept[NEXT_MAX];

static void put(struct queue *queue, void (*run)(struct request *), struct request *request, int index)
{
	pthread_mutex_lock(&queue->lock);
	queue->steps[queue->tail++ % 4096] = (struct step){ request, run, index };
	pthread_mutex_unlock(&queue->lock);
	sem_post(&queue->count);
}

static struct step take(struct queue *queue)
{
	struct step step;

	while (sem_wait(&queue->count))
		;
	pthread_mutex_lock(&queue->lock);
	step = is_latest ? queue->steps[--queue->tail % 4096] : queue->steps[queue->head++ % 4096];
	pthread_mutex_unlock(&queue->lock);
	return step;
}

static void say(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		perror("write");
}

static void call(struct request *request, int index)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(next_ports[index]) };
	char text[512];
	size_t have = 0;
	ssize_t got;
	char *end;

	if (!kept[index]) {
		int one = 1;

		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		kept[index] = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(kept[index], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (connect(kept[index], (void *)&to, sizeof(to)))
			perror("connect");
	}
	snprintf(text, sizeof(text), "GET %s.%d HTTP/1.1\r\nHost: leaf\r\n\r\n", request->path, index + 1);
	say(kept[index], text);
	for (;;) {
		fd_set set;

		FD_ZERO(&set);
		FD_SET(kept[index], &set);
		if (selects && select(kept[index] + 1, &set, NULL, NULL, NULL) < 0)
			perror("select");
		got = read(kept[index], text + have, sizeof(text) - 1 - have);
		if (got <= 0)
			break;
		have += got;
		text[have] = 0;
		end = strstr(text, "\r\n\r\n");
		if (end && strlen(end + 4) >= 2)
			return;
	}
	fprintf(stderr, "call ended\n");
}

static void wait_again(struct request *request)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.ptr = request };

	epoll_ctl(loop, EPOLL_CTL_MOD, request->fd, &event);
}

static int read_request(struct request *request)
{
	char text[1024];
	ssize_t got = read(request->fd, text, sizeof(text) - 1);

	if (got <= 0) {
		close(request->fd);
		free(request);
		return 0;
	}
	text[got] = 0;
	sscanf(text, "GET %255s", request->path);
	request->at = 0;
	return 1;
}

static void answer(struct request *request)
{
	say(request->fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	wait_again(request);
}

static void make_call(struct request *request)
{
	call(request, request->at++);
	put(&work, request->at < next_count ? make_call : answer, request, 0);
}

static void do_call(struct request *request)
{
	(void)request;
}

static void serve(struct request *request)
{
	if (!read_request(request))
		return;
	if (is_latest || !strcmp(mode, "stages")) {
		put(&work, next_count ? make_call : answer, request, 0);
		return;
	}
	for (int i = 0; i < next_count; i++) {
		if (!strcmp(mode, "blocking")) {
			call(request, i);
			continue;
		}
		put(&calls, do_call, request, i);
		if (!strcmp(mode, "steal"))
			while (sem_trywait(&request->done)) {
				struct step step;

				if (sem_trywait(&calls.count)) {
					usleep(200);
					continue;
				}
				pthread_mutex_lock(&calls.lock);
				step = calls.steps[calls.head++ % 4096];
				pthread_mutex_unlock(&calls.lock);
				call(step.request, step.index);
				sem_post(&step.request->done);
			}
		else
			sem_wait(&request->done);
	}
	answer(request);
}

static void *run_steps(void *arg)
{
	(void)arg;
	for (;;) {
		struct step step = take(&work);

		step.run(step.request);
	}
	return NULL;
}

static void *run_calls(void *arg)
{
	(void)arg;
	for (;;) {
		struct step step = take(&calls);

		call(step.request, step.index);
		sem_post(&step.request->done);
	}
	return NULL;
}

int main(void)
{
	char *next = strdup(getenv("NEXT") ? getenv("NEXT") : "");
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT"))) };
	struct epoll_event event = { .events = EPOLLIN };
	pthread_t thread;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	mode = getenv("MODE") ? getenv("MODE") : "blocking";
	is_latest = !strcmp(mode, "latest");
	selects = getenv("WAIT") != NULL;
	sem_init(&work.count, 0, 0);
	sem_init(&calls.count, 0, 0);
	for (char *url = strtok(next, ","); url; url = strtok(NULL, ","))
		next_ports[next_count++] = atoi(strrchr(url, ':') + 1);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&at, sizeof(at)) || listen(listener, 128))
		return 1;
	loop = epoll_create1(0);
	event.data.ptr = NULL;
	epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
	for (int i = 0; i < atoi(getenv("THREADS") ? getenv("THREADS") : "8"); i++)
		pthread_create(&thread, NULL, run_steps, NULL);
	if (!strcmp(mode, "caller"))
		pthread_create(&thread, NULL, run_calls, NULL);
	while (epoll_wait(loop, &event, 1, -1) >= 0) {
		struct request *request = event.data.ptr;

		if (request) {
			put(&work, serve, request, 0);
			continue;
		}
		request = calloc(1, sizeof(*request));
		sem_init(&request->done, 0, 0);
		request->fd = accept(listener, NULL, NULL);
		setsockopt(request->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		event = (struct epoll_event){ .events = EPOLLIN | EPOLLONESHOT, .data.ptr = request };
		epoll_ctl(loop, EPOLL_CTL_ADD, request->fd, &event);
	}
	return 0;
}
